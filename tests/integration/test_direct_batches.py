"""Several batches of one Direct worker at once: how many, and what becomes of them when it stops."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import pytest

from tests.integration.rig import HookedGenerator, Rig, echo
from tests.integration.support import eventually_async
from workers.common.fake_generator import FakeGenerator
from workers.common.generator import Load
from workers.direct.lists import ListMaker
from workers.direct.queue import DueQueue, Lease
from workers.direct.worker import DirectWorker

MakeRig = Callable[..., Rig]


def _with(rig: Rig, **direct: int) -> Rig:
    """Return `rig` with other settings of Direct."""
    changed = rig.settings.direct.model_copy(update=direct)
    return replace(rig, settings=rig.settings.model_copy(update={"direct": changed}))


class Together(HookedGenerator):
    """Holds batches back until `expected` are at work, then asks Redis `turns` times; `most` were there at once."""

    def __init__(self, rig: Rig, expected: int, turns: int) -> None:
        """Wait for so many."""
        super().__init__(self._during)
        self._rig, self._expected, self._turns = rig, expected, turns
        self._at_work, self.most = 0, 0
        self._together = asyncio.Event()

    async def _during(self, _: Sequence[str]) -> None:
        self._at_work += 1
        self.most = max(self.most, self._at_work)
        if self._at_work == self._expected:
            self._together.set()
        await self._together.wait()
        for _turn in range(self._turns):
            await self._rig.redis.ping()
        self._at_work -= 1


async def test_batches_are_at_work_together(make_rig: MakeRig) -> None:
    """The next batch is at the model while one is generated; never more than `direct.in_flight`."""
    rig = _with(make_rig(), in_flight=3, batch_size=2)
    for number in range(20):
        await rig.search(f"u{number}", f"tent {number}")
    generator = Together(rig, expected=3, turns=1)
    await rig.run_until(rig.worker(generator), rig.idle)
    assert generator.most == 3


@pytest.mark.parametrize(
    ("load", "most"), [(Load(waiting=2), 2), (Load(cache=0.95), 2), (Load(running=9, waiting=1, cache=0.85), 4)]
)
async def test_a_busy_model_is_left_alone(make_rig: MakeRig, load: Load, most: int) -> None:
    """While a batch's worth waits at it, or its cache is all but full, a worker has two batches at work, no third."""
    rig = _with(make_rig(), batch_size=2)

    class Busy(Together):
        async def load(self) -> Load:
            return load

    for number in range(8):
        await rig.search(f"u{number}", f"tent {number}")
    generator = Busy(rig, expected=most, turns=5)
    await rig.run_until(rig.worker(generator), rig.idle)
    assert generator.most == most


async def test_small_batches_are_sent_as_they_come(make_rig: MakeRig) -> None:
    """Whoever comes alone does not wait for a batch to end: two batches' worth of prompts, in however many."""
    rig = _with(make_rig(), batch_size=4)

    class Busy(Together):
        async def load(self) -> Load:
            return Load(waiting=4)

    generator = Busy(rig, expected=6, turns=1)
    stop = asyncio.Event()
    running = asyncio.create_task(rig.worker(generator).run(stop))

    async def at_work() -> bool:
        return generator.most == number + 1

    for number in range(5):
        await rig.search(f"u{number}", f"tent {number}")
        await eventually_async(at_work)
    await rig.search("one more", "tent")
    with pytest.raises(AssertionError, match="not true"):
        await eventually_async(lambda: rig.leased("one more"), 0.2)
    stop.set()
    await running


async def test_a_busy_model_is_not_asked_again_and_again(make_rig: MakeRig) -> None:
    """Its `/metrics` costs it time: once it has enough, it is asked after a pause, or when a batch has ended."""
    rig = _with(make_rig(), batch_size=1)
    asked: list[float] = []
    begun, end = asyncio.Event(), asyncio.Event()

    class Busy(HookedGenerator):
        async def load(self) -> Load:
            asked.append(asyncio.get_running_loop().time())
            return Load(waiting=1)

    async def held(_: Sequence[str]) -> None:
        begun.set()
        await end.wait()

    async def thrice() -> bool:
        return len(asked) >= 3

    for number in range(6):
        await rig.search(f"u{number}", f"tent {number}")
    stop = asyncio.Event()
    running = asyncio.create_task(rig.worker(Busy(held)).run(stop))
    await begun.wait()
    await eventually_async(thrice)
    assert all(later - earlier > 0.25 for earlier, later in pairwise(asked)), "though poll_s is 0.01"
    end.set()
    await eventually_async(rig.idle)
    stop.set()
    await running


async def test_stopping_gives_leases_back(make_rig: MakeRig) -> None:
    """A worker that is told to stop does not make shoppers wait for its leases to expire."""
    rig = make_rig()
    await rig.search("u1", "tent")
    stop, started = asyncio.Event(), asyncio.Event()

    async def forever(_: Sequence[str]) -> None:
        started.set()
        await asyncio.Event().wait()

    running = asyncio.create_task(rig.worker(HookedGenerator(forever)).run(stop))
    await started.wait()
    assert await rig.leased("u1")
    stop.set()
    await asyncio.wait_for(running, 5)
    assert not await rig.leased("u1")
    assert await rig.worker().step() == 1
    assert await rig.u2q("u1") is not None


async def test_stopping_while_claiming_gives_leases_back(make_rig: MakeRig) -> None:
    """However late it is told: who is claimed last is due again too, though their batch never begins."""
    rig = make_rig()
    await rig.search("u1", "tent")
    stop = asyncio.Event()

    class ToldLate(DueQueue):
        async def claim(self, limit: int) -> list[Lease]:
            leases = await super().claim(limit)
            stop.set()
            return leases

    lists = ListMaker(rig.catalogue, rig.settings)
    generator = FakeGenerator(echo)
    await asyncio.wait_for(DirectWorker(ToldLate(rig.redis, rig.settings), generator, lists, rig.settings).run(stop), 5)
    assert generator.batches == []
    assert not await rig.leased("u1")
    assert await rig.worker().step() == 1


@pytest.mark.parametrize("asked", ["check", "load"])
async def test_a_model_that_hangs_does_not_delay_a_stop(make_rig: MakeRig, asked: str) -> None:
    """Neither at its check nor when asked how much waits there."""
    rig = _with(make_rig(), batch_size=1)
    for number in range(3):
        await rig.search(f"u{number}", "tent")
    hanging = asyncio.Event()

    class Hangs(HookedGenerator):
        async def check(self) -> None:
            await self._hang("check")

        async def load(self) -> Load:
            await self._hang("load")
            return Load()

        async def _hang(self, what: str) -> None:
            if what == asked:
                hanging.set()
                await asyncio.Event().wait()

    async def forever(_: Sequence[str]) -> None:
        await asyncio.Event().wait()

    stop = asyncio.Event()
    running = asyncio.create_task(rig.worker(Hangs(forever)).run(stop))
    await asyncio.wait_for(hanging.wait(), 5)
    stop.set()
    await asyncio.wait_for(running, 5)
    assert not any([await rig.leased(f"u{number}") for number in range(3)])
