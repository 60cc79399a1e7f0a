"""Several batches of one Direct worker at once: how many, and what becomes of them when it stops."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from tests.integration.rig import HookedGenerator, Rig

MakeRig = Callable[..., Rig]


async def test_batches_are_at_work_together(make_rig: MakeRig) -> None:
    """The next batch is at the model while one is generated; never more than `direct.in_flight`."""
    rig = make_rig()
    direct = rig.settings.direct.model_copy(update={"in_flight": 3, "batch_size": 2})
    rig = replace(rig, settings=rig.settings.model_copy(update={"direct": direct}))
    for number in range(20):
        await rig.search(f"u{number}", f"tent {number}")
    at_work, most = 0, 0
    together = asyncio.Event()

    async def during(_: Sequence[str]) -> None:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        if at_work == 3:
            together.set()
        await together.wait()
        await rig.redis.ping()
        at_work -= 1

    await rig.run_until(rig.worker(HookedGenerator(during)), rig.idle)
    assert most == 3


async def test_a_busy_model_is_left_alone(make_rig: MakeRig) -> None:
    """While a batch's worth of prompts waits at the model, a worker has two batches at work and claims no third."""
    rig = make_rig()
    direct = rig.settings.direct.model_copy(update={"batch_size": 2})
    rig = replace(rig, settings=rig.settings.model_copy(update={"direct": direct}))
    at_work, most = 0, 0
    together = asyncio.Event()

    async def during(_: Sequence[str]) -> None:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        if at_work == 2:
            together.set()
        await together.wait()
        for _turn in range(5):
            await rig.redis.ping()
        at_work -= 1

    class Busy(HookedGenerator):
        async def waiting(self) -> int:
            return 2

    for number in range(8):
        await rig.search(f"u{number}", f"tent {number}")
    await rig.run_until(rig.worker(Busy(during)), rig.idle)
    assert most == 2


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
