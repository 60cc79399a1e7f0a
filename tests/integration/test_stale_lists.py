"""A missing or old list is made anew when its shopper comes back."""

import time
from collections.abc import Callable
from dataclasses import replace

from service.contracts.codecs import BehaviourEntry, QueryList
from service.contracts.keys import shopper_sid
from service.contracts.settings import Settings
from service.hintq import HintsQuery, answer
from service.metrics import STALE
from service.recall.u2q import Shopper
from service.stale import StaleLists, fresh_for
from service.state import open_state
from tests.integration.rig import Rig, echo
from workers.common.fake_generator import FakeGenerator

MakeRig = Callable[..., Rig]
ACTED = [BehaviourEntry("search", 1.0, "tent")]


async def test_who_comes_back_without_a_list_gets_one(make_settings: Callable[..., Settings]) -> None:
    """The list has expired, the behaviour has not: asking marks the shopper due, and a worker does the rest."""
    async with open_state(make_settings()) as state:
        rig = Rig(state.settings, state.poll_redis, state.catalogue)
        await rig.search("u1", "tent")
        generator = FakeGenerator(echo)
        await rig.worker(generator).step()
        await rig.redis.delete(rig.keys.u2q(shopper_sid("u1")))
        assert await rig.due("u1") is None
        for number in range(3):
            await answer(state, HintsQuery(f"r{number}", "u1", 5, 5000))
        await state.stale.flush()
        assert await rig.due("u1") is not None
        await rig.worker(generator).step()
        assert await rig.u2q("u1") is not None
        assert sum(map(len, generator.batches)) == 2


async def test_a_mark_that_is_there_stays(make_rig: MakeRig) -> None:
    """A shopper who waits for the quiet after a burst is not hurried, nor is a lease touched."""
    rig = make_rig(delay_s=60.0, max_wait_s=600.0, priority_delay_s=60.0)
    await rig.search("u1", "tent", "lamp")
    before = await rig.due("u1")
    stale = StaleLists(rig.redis, rig.keys, 60.0)
    stale.look("u1", Shopper(behaviour=ACTED))
    await stale.flush()
    assert await rig.due("u1") == before


async def test_who_is_left_alone(make_rig: MakeRig) -> None:
    """A fresh list, and a shopper of whom nothing is known; an old list is not."""
    rig = make_rig()
    stale = StaleLists(rig.redis, rig.keys, fresh_s=60.0, capacity=1)
    now_ms = round(time.time() * 1000)
    stale.look("fresh", Shopper(behaviour=ACTED, u2q=QueryList(1, now_ms, "m", ())))
    stale.look("nobody", Shopper())
    stale.look("old", Shopper(behaviour=ACTED, u2q=QueryList(1, now_ms - 67_000, "m", ())))
    stale.look("too many", Shopper(behaviour=ACTED))
    await stale.flush()
    assert [await rig.due(user) is not None for user in ("fresh", "nobody", "old", "too many")] == [
        False, False, True, False,
    ]  # fmt: skip


async def test_lists_written_together_become_old_one_by_one(make_rig: MakeRig) -> None:
    """Each shopper has a freshness of their own, so that a new model is no wave every day after."""
    rig = make_rig()
    stale = StaleLists(rig.redis, rig.keys, fresh_s=1000.0)
    written = QueryList(1, round(time.time() * 1000) - 1_000_000, "m", ())
    users = [f"u{number}" for number in range(40)]
    for user in users:
        stale.look(user, Shopper(behaviour=ACTED, u2q=written))
    await stale.flush()
    marked = {user for user in users if await rig.due(user) is not None}
    # Who is at the very limit may be either.
    assert marked >= {user for user in users if fresh_for(shopper_sid(user), 1000.0) < 999}
    assert marked <= {user for user in users if fresh_for(shopper_sid(user), 1000.0) < 1010}
    assert 5 < len(marked) < 35


async def test_a_visit_notices_that_another_model_writes_now(make_settings: Callable[..., Settings]) -> None:
    """Without any event: the visitor gets what is there, and a list by today's model a moment later."""
    async with open_state(make_settings()) as state:
        rig = Rig(state.settings, state.poll_redis, state.catalogue)
        before = replace(rig, settings=_with_model(rig.settings, "yesterday"))
        await rig.search("u1", "tent")
        await before.worker().step()
        assert await rig.due("u1") is None
        found = await rig.u2q("u1")
        assert found is not None
        assert found.model == "yesterday"
        counted = STALE.labels("model")._value.get()
        for number in range(3):
            await answer(state, HintsQuery(f"r{number}", "u1", 5, 5000))
        assert STALE.labels("model")._value.get() == counted + 1
        await state.stale.flush()
        assert await rig.due("u1") is not None
        await rig.worker().step()
        found = await rig.u2q("u1")
        assert found is not None
        assert found.model == rig.settings.vllm.model
        await answer(state, HintsQuery("r", "u1", 5, 5000))
        await state.stale.flush()
        assert await rig.due("u1") is None, "once is enough"


async def test_a_new_model_renews_lists_at_a_rate(make_rig: MakeRig) -> None:
    """A visit of everybody at once is not a generation for everybody at once; missing lists are no part of it."""
    rig = make_rig()
    lists = {rate: StaleLists(rig.redis, rig.keys, 60.0, model="new", renew_per_s=rate) for rate in (0.0, 0.001, 3.0)}
    old = Shopper(behaviour=ACTED, u2q=QueryList(1, round(time.time() * 1000), "old", ()))
    for rate, stale in lists.items():
        for number in range(10):
            stale.look(f"{rate} {number}", old)
        stale.look(f"{rate} missing", Shopper(behaviour=ACTED))
        await stale.flush()
        assert await rig.due(f"{rate} missing") is not None
    marked = {rate: [await rig.due(f"{rate} {number}") for number in range(10)] for rate in lists}
    assert {rate: 10 - found.count(None) for rate, found in marked.items()} == {0.0: 0, 0.001: 1, 3.0: 3}


def _with_model(settings: Settings, model: str) -> Settings:
    return settings.model_copy(update={"vllm": settings.vllm.model_copy(update={"model": model})})
