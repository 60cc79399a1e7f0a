"""The due queue's compare-and-set: who writes last is who should."""

import time
from collections.abc import Callable
from dataclasses import replace

from service.contracts.codecs import decode_list
from service.contracts.events import EVENT
from service.contracts.keys import shopper_sid
from tests.integration.rig import Rig
from tests.integration.support import eventually_async, query_list
from workers.direct.queue import Lease, Refresh

MakeRig = Callable[..., Rig]
SID = shopper_sid("u1")


async def _takeover(rig: Rig) -> Lease:
    """Return the lease of a second worker, once the first one's has expired."""

    async def claim() -> list[Lease]:
        return await rig.queue.claim(10)

    (lease,) = await eventually_async(claim)
    return lease


async def test_a_claim_is_exclusive(make_rig: MakeRig) -> None:
    """Until the lease ends, nobody else gets the shopper; how late it was is told."""
    rig = make_rig()
    await rig.search("u1", "tent")
    lease = await rig.claim_one()
    assert lease.sid == SID
    assert 0 <= lease.late_ms < 10_000
    assert await rig.queue.claim(10) == []
    assert (await rig.queue.look()).shoppers == 1


async def test_who_waits_longest_is_first(make_rig: MakeRig) -> None:
    """Across partitions, and never more than asked for."""
    rig = make_rig()
    for number in range(12):
        await rig.search(f"u{number}", "tent")
        await rig.redis.zadd(
            rig.keys.due(rig.keys.partition(shopper_sid(f"u{number}"))), {shopper_sid(f"u{number}"): 1000.0 - number}
        )
    claimed = []
    while leases := await rig.queue.claim(3):
        assert len(leases) <= 3
        claimed += [lease.sid for lease in leases]
    assert sorted(claimed) == sorted(shopper_sid(f"u{number}") for number in range(12))
    assert claimed.index(shopper_sid("u11")) < 3


async def test_an_expired_lease_is_taken_over_and_the_late_worker_loses(make_rig: MakeRig) -> None:
    """A worker that was killed, or hung, neither blocks its shoppers nor overwrites who came after it."""
    rig = make_rig(lease_s=0.05)
    await rig.search("u1", "tent")
    late = await rig.refresh(await rig.claim_one(), query_list(SID, "late list"))
    second = await rig.refresh(await _takeover(rig), query_list(SID, "good list"))
    assert await rig.queue.complete([late]) == ["lost"]
    assert await rig.u2q("u1") is None
    assert await rig.leased("u1"), "the second worker still holds it"
    assert await rig.queue.complete([second]) == ["done"]
    assert await rig.queue.complete([late]) == ["lost"]
    assert (await rig.u2q("u1")).queries[0].query == "good list"  # type: ignore[union-attr]
    assert await rig.due("u1") is None


async def test_a_late_worker_cannot_give_back_what_it_lost(make_rig: MakeRig) -> None:
    """Releasing is compare-and-set too."""
    rig = make_rig(lease_s=0.05)
    await rig.search("u1", "tent")
    late = await rig.claim_one()
    await _takeover(rig)
    await rig.queue.release([late], 0.0)
    assert await rig.leased("u1")


async def test_completing_twice_writes_once(make_rig: MakeRig) -> None:
    """A retried request is harmless."""
    rig = make_rig()
    await rig.search("u1", "tent")
    refresh = await rig.refresh(await rig.claim_one(), query_list(SID, "good list"))
    assert await rig.queue.complete([refresh, refresh]) == ["done", "lost"]


async def test_an_older_sequence_never_overwrites_a_newer_one(make_rig: MakeRig) -> None:
    """Whatever order answers arrive in."""
    rig = make_rig()
    await rig.search("u1", "tent", "lamp")
    newer = await rig.refresh(await rig.claim_one(), query_list(SID, "newer list", seq=2))
    assert await rig.queue.complete([newer]) == ["done"]
    await rig.search("u1", "stove")
    current = await rig.refresh(await rig.claim_one(), query_list(SID, "older list", seq=1))
    older = Refresh(replace(current.shopper, seq=1), current.value)
    assert await rig.queue.complete([older]) == ["again"]
    raw = await rig.redis.get(rig.keys.u2q(SID))
    assert decode_list(SID, raw).queries[0].query == "newer list"
    assert await rig.due("u1") is not None, "the third event has not been seen yet"


async def test_a_shopper_whose_state_is_gone(make_rig: MakeRig) -> None:
    """Expired or erased meanwhile: nothing is written, and the queue forgets too."""
    rig = make_rig()
    await rig.search("u1", "tent")
    refresh = await rig.refresh(await rig.claim_one(), query_list(SID, "good list"))
    await rig.redis.delete(rig.keys.state(SID))
    assert await rig.queue.complete([refresh]) == ["gone"]
    assert (await rig.u2q("u1"), await rig.due("u1")) == (None, None)


async def test_forgotten_then_back_again(make_rig: MakeRig) -> None:
    """The list of the old life is not written into the new one."""
    rig = make_rig()
    await rig.search("u1", "tent")
    refresh = await rig.refresh(await rig.claim_one(), query_list(SID, "old life"))
    await rig.store.forget("u1")
    await rig.search("u1", "lamp")
    assert await rig.queue.complete([refresh]) == ["lost"]
    assert await rig.u2q("u1") is None
    assert (await rig.claim_one()).sid == SID


async def test_an_event_while_leased_does_not_end_the_lease(make_rig: MakeRig) -> None:
    """The due mark stays the lease's expiry until completing decides."""
    rig = make_rig()
    await rig.search("u1", "tent")
    refresh = await rig.refresh(await rig.claim_one(), query_list(SID, "list"))
    await rig.search("u1", "lamp")
    assert (await rig.due("u1") or 0) > time.time() * 1000 + 10_000
    assert await rig.queue.claim(10) == []
    assert await rig.queue.complete([refresh]) == ["again"]
    assert len(await rig.queue.claim(10)) == 1


async def test_giving_back_makes_due_after_a_pause(make_rig: MakeRig) -> None:
    """So that a poisonous shopper does not spin."""
    rig = make_rig()
    await rig.search("u1", "tent")
    lease = await rig.claim_one()
    await rig.queue.release([lease], 60.0)
    assert not await rig.leased("u1")
    assert 50_000 < (await rig.due("u1") or 0) - await rig.now_ms() <= 60_000
    assert await rig.queue.claim(10) == []


async def test_a_claim_is_full_however_uneven_partitions_are(make_rig: MakeRig) -> None:
    """One partition with many, others with one each: as many as asked for."""
    rig = make_rig()
    by_partition: dict[int, list[str]] = {}
    for number in range(200):
        user = f"u{number}"
        by_partition.setdefault(rig.keys.partition(shopper_sid(user)), []).append(user)
    crowded, *others = by_partition.values()
    for user in [*crowded, *(users[0] for users in others)]:
        await rig.search(user, "tent")
    assert len(await rig.queue.claim(30)) == 30
    rest = await rig.queue.claim(1000)
    assert len(rest) == len(crowded) + len(others) - 30


async def test_a_cooldown_spaces_refreshes(make_rig: MakeRig) -> None:
    """The next one waits for it; a purchase does not."""
    rig = make_rig(cooldown_s=60.0)
    await rig.search("u1", "tent")
    await rig.queue.complete([await rig.refresh(await rig.claim_one(), query_list(SID, "a list"))])
    await rig.search("u1", "lamp")
    assert 55_000 < (await rig.due("u1") or 0) - await rig.now_ms() <= 60_000
    await rig.store.record([EVENT.validate_python({"user_id": "u1", "type": "purchase", "item_id": "i1"})])
    assert (await rig.claim_one()).sid == SID
