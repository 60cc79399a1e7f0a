"""Did a process stand still because it had no core? Its delay on the run queue, and what the hypervisor took.

A late answer with neither is the process's own doing. https://docs.kernel.org/scheduler/sched-stats.html
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_EVERY_S: Final = 0.01
_STEAL: Final = 8
"""Where a line of /proc/stat has the time that others had of this core: proc_stat(5)."""


@dataclass
class Stalls:
    """Milliseconds that a process's main thread, which has the event loop, was ready to run and did not."""

    run_queue_ms: float | None = None
    """In all; None where the kernel does not tell."""
    longest_ms: float = 0.0
    """At most within one look, of which there are a hundred a second."""
    stolen_ms: float = 0.0
    """What the hypervisor gave to others of the process's core, meanwhile; to the clock tick."""


@asynccontextmanager
async def watched(pid: int) -> AsyncIterator[Stalls]:
    """Look at a process until the block ends; what is yielded is complete then."""
    stalls = Stalls()
    begun, stolen = run_queue_ms(pid), stolen_ms(pid)
    looking = asyncio.create_task(_look(pid, begun, stalls)) if begun is not None else None
    try:
        yield stalls
    finally:
        if looking is not None:
            looking.cancel()
            await asyncio.wait({looking})
        ended = run_queue_ms(pid)
        if begun is not None and ended is not None:
            stalls.run_queue_ms = ended - begun
        stalls.stolen_ms = max(0.0, stolen_ms(pid) - stolen)  # some hypervisors correct the counter backwards


async def _look(pid: int, last: float, stalls: Stalls) -> None:
    while True:
        await asyncio.sleep(_EVERY_S)
        now = run_queue_ms(pid) or last
        stalls.longest_ms = max(stalls.longest_ms, now - last)
        last = now


def run_queue_ms(pid: int) -> float | None:
    """Return how long a process's main thread waited for a core so far; None where the kernel does not tell."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="utf-8").split()[1]) / 1e6
    except OSError:
        return None


def stolen_ms(pid: int) -> float:
    """Return what the hypervisor took so far of the cores that a process may run on."""
    cores = {f"cpu{core}" for core in os.sched_getaffinity(pid)}
    lines = Path("/proc/stat").read_text(encoding="utf-8").splitlines()
    ticks = sum(int(fields[_STEAL]) for line in lines if (fields := line.split()) and fields[0] in cores)
    return 1000 * ticks / os.sysconf("SC_CLK_TCK")
