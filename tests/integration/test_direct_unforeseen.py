"""Errors that nobody foresaw are told with a traceback and counted as tries; no lease waits to expire."""

from collections.abc import Callable, Sequence

import pytest
from pydantic import SecretStr

from service.contracts.errors import RefreshFailed, StoreUnavailable
from service.contracts.keys import shopper_sid
from service.contracts.redis import make_redis
from service.ranking.shopper_context import ShopperContext
from tests.integration.rig import Rig, echo
from workers.common.fake_generator import FakeGenerator
from workers.common.ranked_list import Ranker
from workers.direct import metrics
from workers.direct.dead_letters import DeadLetters
from workers.direct.lists import ListMaker
from workers.direct.queue import DueQueue, DueShopper, Lease, Unreadable
from workers.direct.worker import DirectWorker

MakeRig = Callable[..., Rig]


class Broken(Ranker):
    """Raises for whoever did what it is broken by, or for everybody."""

    def __init__(self, by: str = "") -> None:
        """Break by a query that holds `by`."""
        self._by = by

    def chances(self, context: ShopperContext, generated: Sequence[str] = ()) -> dict[str, float]:
        """See `Ranker.chances`."""
        if any(self._by in entry.ref for entry in context.behaviour):
            raise ZeroDivisionError("the ranker's own")
        return dict.fromkeys(generated, 0.1)


def _counted(error: str) -> float:
    return metrics.FAILURES.labels(error)._value.get()


async def test_who_breaks_the_ranker_fails_alone(make_rig: MakeRig, caplog: pytest.LogCaptureFixture) -> None:
    """The others of the batch get their lists; the one at fault is a dead letter after `max_tries`."""
    rig = make_rig(max_tries=2, retry_s=0.01)
    for user in ("u1", "poison", "u2"):
        await rig.search(user, f"{user} tent")
    worker = rig.worker(ranker=Broken("poison"))
    before = _counted("ZeroDivisionError")
    assert await worker.step() == 3
    assert _counted("ZeroDivisionError") == before + 1
    assert not await rig.leased("poison")
    assert await rig.due("poison") is not None
    (told,) = [record for record in caplog.records if record.exc_info]
    assert "ZeroDivisionError: the ranker's own" in caplog.text
    assert shopper_sid("poison") in told.getMessage()
    await rig.run_until(worker, rig.idle)
    assert all([await rig.u2q(user) for user in ("u1", "u2")])
    (letter,) = await DeadLetters(rig.redis, rig.keys).all()
    assert (letter.sid, letter.tries) == (shopper_sid("poison"), 2)
    assert "ZeroDivisionError" in letter.reason


async def test_a_ranker_that_is_broken_for_all_is_a_failure(make_rig: MakeRig) -> None:
    """Of the batch: the loop backs off instead of spending everybody's tries at once."""
    rig = make_rig(retry_s=5.0)
    users = ["u1", "u2"]
    for user in users:
        await rig.search(user, "tent")
    with pytest.raises(RefreshFailed, match="ZeroDivisionError"):
        await rig.worker(ranker=Broken()).step()
    assert [await rig.leased(user) for user in users] == [False, False]
    assert [(await rig.due(user) or 0) > await rig.now_ms() + 3000 for user in users] == [True, True]


@pytest.mark.parametrize("when", ["read", "complete"])
async def test_an_error_of_the_whole_batch(make_rig: MakeRig, caplog: pytest.LogCaptureFixture, when: str) -> None:
    """Wherever it comes from: leases are given back, it counts as a try, and the loop goes on."""
    rig = make_rig(lease_s=60.0, retry_s=0.01, max_tries=3)
    await rig.search("u1", "tent")

    class Once(DueQueue):
        broken = True

        async def read(self, leases: Sequence[Lease]) -> tuple[list[DueShopper], list[Unreadable]]:
            self._break("read")
            return await super().read(leases)

        async def complete(self, refreshes: Sequence[object]) -> list[str]:
            self._break("complete")
            return await super().complete(refreshes)  # type: ignore[arg-type]

        def _break(self, at: str) -> None:
            if at == when and self.broken:
                self.broken = False
                raise KeyError(at)

    before = _counted("RefreshFailed")
    lists = ListMaker(rig.catalogue, rig.settings)
    worker = DirectWorker(Once(rig.redis, rig.settings), FakeGenerator(echo), lists, rig.settings)
    await rig.run_until(worker, rig.idle)
    assert await rig.u2q("u1") is not None
    assert _counted("RefreshFailed") == before + 1
    assert "Traceback" in caplog.text
    assert f"KeyError('{when}')" in caplog.text


async def test_it_ends_as_a_dead_letter(make_rig: MakeRig) -> None:
    """Though nothing could be read."""
    rig = make_rig(max_tries=1)
    await rig.search("u1", "tent")

    class Blind(DueQueue):
        async def read(self, leases: Sequence[Lease]) -> tuple[list[DueShopper], list[Unreadable]]:
            raise KeyError(leases[0].sid)

    lists = ListMaker(rig.catalogue, rig.settings)
    with pytest.raises(RefreshFailed):
        await DirectWorker(Blind(rig.redis, rig.settings), FakeGenerator(echo), lists, rig.settings).step()
    (letter,) = await DeadLetters(rig.redis, rig.keys).all()
    assert (letter.sid, letter.tries) == (shopper_sid("u1"), 1)
    assert await rig.idle()


@pytest.mark.parametrize("kind", ["state", "behaviour", "profile", "u2q"])
async def test_a_key_of_another_type_fails_its_shopper_alone(make_rig: MakeRig, kind: str) -> None:
    """Counted, tried again, and a dead letter that names the key; the others of the batch get their lists."""
    rig = make_rig(max_tries=2, retry_s=0.01)
    for user in ("u1", "poison", "u2"):
        await rig.search(user, f"{user} tent")
    key = getattr(rig.keys, kind)(shopper_sid("poison"))
    await rig.redis.delete(key)
    await rig.redis.sadd(key, "foreign")
    await rig.redis.expire(key, 60)
    before = _counted("CorruptValue")
    worker = rig.worker()
    assert await worker.step() == 3
    assert all([await rig.u2q(user) for user in ("u1", "u2")])
    assert not await rig.leased("poison")
    assert await rig.due("poison") is not None
    await rig.run_until(worker, rig.idle)
    assert _counted("CorruptValue") == before + 2
    (letter,) = await DeadLetters(rig.redis, rig.keys).all()
    assert (letter.sid, letter.tries) == (shopper_sid("poison"), 2)
    assert letter.reason.startswith(f"{key}: WRONGTYPE")


async def test_what_redis_refuses_is_no_fault_of_a_shopper(make_rig: MakeRig) -> None:
    """A worker that may not read must say so, not spend everybody's tries."""
    rig = make_rig()
    await rig.search("u1", "tent")
    lease = await rig.claim_one()
    name = f"half-blind-{rig.settings.redis.namespace}"
    await rig.redis.acl_setuser(name, enabled=True, nopass=True, keys=["*"], commands=["+@all", "-lrange"])
    url = rig.settings.redis.url.get_secret_value().replace("//", f"//{name}:any@")
    blind = make_redis(rig.settings.redis.model_copy(update={"url": SecretStr(url)}), 5000)
    try:
        with pytest.raises(StoreUnavailable, match="lrange"):
            await DueQueue(blind, rig.settings).read([lease])
    finally:
        await blind.aclose()
        await rig.redis.acl_deluser(name)
