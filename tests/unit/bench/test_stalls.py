"""Whose fault a late answer is: what the process's cores were given to meanwhile."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from workers.bench import stalls as stalls_module
from workers.bench.common import cpu_s
from workers.bench.constant_rate import Answers
from workers.bench.latency import lateness
from workers.bench.stalls import Stalls, run_queue_ms, stolen_ms, watched

BUSY = "import os, time\nif os.fork() == 0:\n    while time.process_time() < 0.3: pass\ntime.sleep(60)"
SPIN = f"import os\nos.sched_setaffinity(0, [{min(os.sched_getaffinity(0))}])\nwhile True: pass"
ABSENT = 2**22 + 1
"""More than the kernel gives to a process."""


def test_the_time_of_forked_workers_counts() -> None:
    """A server that only waits for its worker is not free."""
    with subprocess.Popen([sys.executable, "-c", BUSY], start_new_session=True) as process:
        deadline = time.monotonic() + 30
        while cpu_s(process.pid) < 0.3:
            assert time.monotonic() < deadline
        os.killpg(process.pid, 9)


def test_a_server_that_has_ended_has_no_time() -> None:
    """Its figures would look as if it cost nothing."""
    with pytest.raises(ProcessLookupError):
        cpu_s(ABSENT)


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="this kernel does not tell run queue delays")
async def test_waiting_for_a_core_is_seen() -> None:
    """Two on one core: each waits for the other, and that is told as it happens."""
    one, other = [await asyncio.create_subprocess_exec(sys.executable, "-c", SPIN) for _ in range(2)]
    async with asyncio.timeout(30), watched(one.pid) as stalls:
        while stalls.longest_ms == 0:  # noqa: ASYNC110  (the kernel does not tell when)
            await asyncio.sleep(0.01)
    for process in (one, other):
        process.kill()
        await process.wait()
    assert stalls.run_queue_ms is not None
    assert stalls.run_queue_ms >= stalls.longest_ms > 0
    assert stalls.stolen_ms >= 0


async def test_a_counter_that_goes_backwards_steals_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: a hypervisor took time back while a test ran."""
    told = iter((32_000.0, 20.0))
    monkeypatch.setattr(stalls_module, "stolen_ms", lambda _: next(told))
    async with watched(os.getpid()) as stalls:
        pass
    assert stalls.stolen_ms == 0


def test_what_is_not_told_is_not_made_up() -> None:
    """Neither is a process that there is not."""
    assert run_queue_ms(ABSENT) is None
    assert stolen_ms(os.getpid()) >= 0
    answers = Answers(1, wire_ms=[1.0], server_ms=[0.5])
    assert "run_queue_ms" not in lateness(answers, Stalls())


def test_late_is_more_than_budget_and_spare() -> None:
    """By both clocks."""
    answers = Answers(3, wire_ms=[52.0, 52.1, 97.0], server_ms=[51.0, 52.0, 96.0], failed=1)
    found = lateness(answers, Stalls(run_queue_ms=50.0, longest_ms=45.0, stolen_ms=10.0))
    assert found == {
        "late": 1, "late_wire": 2, "failed": 1, "max_server_ms": 96.0, "max_wire_ms": 97.0,
        "run_queue_ms": 50.0, "max_run_queue_ms": 45.0, "stolen_ms": 10.0,
    }  # fmt: skip
