"""More are due than can be refreshed: a defined order, nobody lost, and nothing spent on who is not there any more."""

import time
from collections.abc import Callable
from random import Random

import pytest

from service.contracts.codecs import BehaviourEntry
from service.contracts.events import EVENT
from service.contracts.keys import shopper_sid
from service.recall.u2q import Shopper
from service.stale import StaleLists
from tests.integration.rig import Rig, echo
from tests.integration.support import eventually_async, query_list
from tests.support import TENT
from workers.common.fake_generator import FakeGenerator
from workers.direct import metrics
from workers.direct.queue import Refresh

MakeRig = Callable[..., Rig]
SHED_S = 5.0
LATE_MS = 60_000
VISITOR = Shopper(behaviour=[BehaviourEntry("search", 1.0, "tent")])


async def _listed(rig: Rig, user: str) -> None:
    """Give a shopper a list."""
    sid = shopper_sid(user)
    await rig.redis.set(rig.keys.u2q(sid), query_list(sid, "a list"), ex=600)


async def _late(rig: Rig, user: str, ms: float = LATE_MS) -> None:
    """Let a shopper have waited since `ms` ago."""
    sid = shopper_sid(user)
    due = {sid: await rig.now_ms() - ms}
    await rig.redis.zadd(rig.keys.due(rig.keys.partition(sid)), due)


async def _overload(rig: Rig) -> list[str]:
    """Let somebody with a list wait too long in each partition; return them, longest waiting first."""
    waiting: dict[int, str] = {}
    for user in map("anchor-{}".format, range(1000)):
        waiting.setdefault(rig.keys.partition(shopper_sid(user)), user)
    for number, user in enumerate(waiting.values()):
        await _listed(rig, user)
        await rig.search(user, "tent")
        await _late(rig, user, LATE_MS - number)
    return list(waiting.values())


async def _tick(rig: Rig) -> None:
    """Await Redis's next millisecond, so that marks differ."""
    now = int(await rig.now_ms())

    async def later() -> bool:
        return int(await rig.now_ms()) > now

    await eventually_async(later)


async def _order(rig: Rig) -> list[str]:
    """Claim everybody, one by one; return their sids."""
    order = []
    while leases := await rig.queue.claim(1):
        order += [lease.sid for lease in leases]
    return order


def _sids(users: list[str]) -> list[str]:
    return [shopper_sid(user) for user in users]


@pytest.mark.parametrize("seed", range(4))
async def test_the_order_under_overload(make_rig: MakeRig, seed: int) -> None:
    """First who has no list, the latest to act ahead; then who has one, longest waiting ahead. Whatever came when."""
    rig = make_rig(shed_after_s=SHED_S)
    chance = Random(seed)
    longest = await _overload(rig)
    cold, warm = [f"cold-{number}" for number in range(8)], [f"warm-{number}" for number in range(8)]
    for user in warm:
        await _listed(rig, user)
    acted: list[str] = []
    for user in chance.choices(cold + warm, k=40):
        await rig.search(user, f"query {chance.random()}")
        acted.append(user)
        await _tick(rig)
    latest = list(dict.fromkeys(user for user in reversed(acted) if user in cold))
    seen = {user for user in acted if user in warm}
    order = await _order(rig)
    assert order[: len(latest) + len(longest)] == _sids(latest + longest)
    assert set(order[len(latest) + len(longest) :]) == set(_sids(list(seen)))
    assert len(order) == len(set(order)) == len(latest) + len(longest) + len(seen), "nobody is lost or there twice"


async def _buy(rig: Rig, user: str) -> None:
    event = {"user_id": user, "type": "purchase", "item_id": TENT}
    await rig.store.record([EVENT.validate_python(event)])
    await _tick(rig)


async def test_a_purchase_goes_ahead_under_overload(make_rig: MakeRig) -> None:
    """With a list too, which is about what was just bought; even within the cooldown, which a purchase never awaits."""
    rig = make_rig(shed_after_s=SHED_S, cooldown_s=600.0)
    await rig.search("buyer", "tent")
    assert await rig.worker().step() == 1
    longest = await _overload(rig)
    await rig.search("cold", "tent")
    await _tick(rig)
    await _buy(rig, "buyer")
    await rig.search("buyer", "lamp")  # who goes on to act does not lose the place
    await _tick(rig)
    await rig.search("colder", "tent")
    assert await _order(rig) == _sids(["colder", "buyer", "cold", *longest])


async def test_a_purchase_is_due_like_others_without_overload(make_rig: MakeRig) -> None:
    """After `priority_delay_s`; the mark is a time."""
    rig = make_rig(shed_after_s=SHED_S)
    await rig.search("u1", "tent")
    await _tick(rig)
    await _listed(rig, "buyer")
    await _buy(rig, "buyer")
    assert (await rig.due("buyer") or 0) > 0
    assert await _order(rig) == _sids(["u1", "buyer"])


async def test_without_overload_the_longest_waiting_is_first(make_rig: MakeRig) -> None:
    """With or without a list."""
    rig = make_rig(shed_after_s=SHED_S)
    users = [f"u{number}" for number in range(6)]
    for user in users:
        if int(user[1:]) % 2:
            await _listed(rig, user)
        await rig.search(user, "tent")
        await _tick(rig)
    assert await _order(rig) == _sids(users)


async def test_who_is_on_the_homepage_with_no_list_goes_ahead(make_rig: MakeRig) -> None:
    """Of those who wait already, too; a lease and the quiet after an event stay."""
    rig = make_rig(shed_after_s=SHED_S)
    longest = await _overload(rig)
    await rig.search("leased", "tent")
    (lease,) = await rig.queue.claim(1)
    assert (lease.sid, lease.ahead) == (shopper_sid("leased"), True)
    await rig.search("waits", "tent")
    await _late(rig, "waits", 1)
    await _late(rig, "quiet", -LATE_MS)
    stale = StaleLists(rig.redis, rig.keys, 60.0)
    for user in ("waits", "new", "leased", "quiet"):
        stale.look(user, VISITOR)
    await stale.flush()
    order = await _order(rig)
    assert set(order[:2]) == set(_sids(["waits", "new"]))
    assert order[2:] == _sids(longest)


async def test_nobody_is_dropped(make_rig: MakeRig) -> None:
    """A queue that was overloaded empties, and everybody in it has a list of what they did last."""
    rig = make_rig(shed_after_s=SHED_S)
    chance = Random(5)
    last = dict.fromkeys(await _overload(rig), "tent")
    users = [f"u{number}" for number in range(60)]
    worker = rig.worker(FakeGenerator(echo))
    for number in range(200):
        last[user := chance.choice(users)] = f"query {number}"
        await rig.search(user, last[user])
        if number % 20 == 0:
            leases = await rig.queue.claim(3)  # by a worker that gives up
            await rig.search(user, last[user])
            await rig.queue.release(leases, 0.0)
    backlog = await rig.queue.look()
    assert backlog.shoppers == len(last)
    assert backlog.oldest_late_s > SHED_S
    assert 0 < backlog.deferred < backlog.shoppers
    await rig.run_until(worker, rig.idle)
    for user, query in last.items():
        found = await rig.u2q(user)
        assert found is not None
        assert found.queries[0].query == f"{query} for beginners"
    assert (await rig.queue.look()).deferred == 0


async def test_what_is_told(make_rig: MakeRig) -> None:
    """How many stand back, and for how long somebody waits, if also only those ahead are looked at first."""
    rig = make_rig(shed_after_s=SHED_S)
    longest = await _overload(rig)
    await rig.search("cold", "tent")
    seen = []

    async def looked() -> bool:
        seen.append((metrics.DEFERRED._value.get(), metrics.OLDEST._value.get()))
        return await rig.idle()

    await rig.run_until(rig.worker(), looked)
    assert seen[-1][0] == len(longest)
    assert seen[-1][1] == pytest.approx(LATE_MS / 1000, abs=10)


async def test_who_did_nothing_for_long_is_let_go(make_rig: MakeRig) -> None:
    """No list is generated, until they come back: to the homepage, or with something new."""
    rig = make_rig(let_go_s=3600.0)
    generator = FakeGenerator(echo)
    worker = rig.worker(generator)
    event = {"user_id": "u1", "type": "search", "query": "tent", "ts": time.time() - 7200}
    await rig.store.record([EVENT.validate_python(event)])
    assert await worker.step() == 1
    assert (generator.batches, await rig.due("u1"), await rig.leased("u1")) == ([], None, False)
    stale = StaleLists(rig.redis, rig.keys, 60.0)
    stale.look("u1", VISITOR)
    await stale.flush()
    assert await worker.step() == 1
    assert len(generator.batches) == 1
    assert await rig.u2q("u1") is not None
    await rig.store.record([EVENT.validate_python({**event, "user_id": "u2"})])
    await rig.search("u2", "lamp")
    assert await worker.step() == 1
    assert await rig.u2q("u2") is not None


async def test_who_comes_back_meanwhile_is_not_let_go(make_rig: MakeRig) -> None:
    """Compare-and-set, as completing: what happened after the read counts, and so does another worker's lease."""
    rig = make_rig(lease_s=0.05)
    await rig.search("u1", "tent")
    first = await rig.refresh(await rig.claim_one(), b"")
    await rig.search("u1", "lamp")

    async def expired() -> list[Refresh]:
        return [await rig.refresh(lease, b"") for lease in await rig.queue.claim(1)]

    (second,) = await eventually_async(expired)
    assert await rig.queue.let_go([first.shopper]) == ["lost"]
    await rig.search("u1", "stove")
    assert await rig.queue.let_go([second.shopper]) == ["again"]
    assert await rig.due("u1") is not None
