"""x2q versions: published whole or not at all, kept for a while, gone by themselves."""

from collections.abc import Callable

import pytest

from service.contracts.codecs import QueryList, ScoredQuery, decode_list
from tests.integration.rig import Rig
from workers.think.publish import PublishError, X2QStore

KEEP_S = 6 * 3600
DAY_S = 24 * 3600
TRIGGERS = ("item:a", "category:A > B", "query:" + "x" * 200)
CONTEXTS = dict.fromkeys(TRIGGERS, "digest")


def _list(text: str) -> QueryList:
    return QueryList(0, 1, "m", (ScoredQuery(text, 1.0),))


class Think:
    """A store, and what Redis says of a version."""

    def __init__(self, rig: Rig, kind: type[X2QStore] = X2QStore) -> None:
        """Work in the rig's namespace."""
        self.rig = rig
        self.store = kind(rig.redis, rig.keys, KEEP_S)

    async def publish(self, version: str) -> None:
        """Stage three lists and make them current."""
        await self.store.stage(version, {trigger: _list(f"{version} list") for trigger in TRIGGERS}, CONTEXTS)
        await self.store.publish(version, {"triggers": 3, "model": "m"})

    async def ttls(self, version: str) -> set[int]:
        """Return the rough TTLs (hours, -1 = none) of the version's lists and info."""
        keys = [self.rig.keys.x2q_info(version), *(self.rig.keys.x2q(version, trigger) for trigger in TRIGGERS)]
        seconds = [await self.rig.redis.ttl(key) for key in keys]
        return {-1 if value == -1 else -2 if value == -2 else round(value / 3600) for value in seconds}


@pytest.fixture
async def think(make_rig: Callable[..., Rig]) -> Think:
    """Return a store in a namespace of its own."""
    return Think(make_rig())


async def test_a_published_version_is_current_and_does_not_expire(think: Think) -> None:
    """Its lists can be read back under their triggers."""
    assert await think.store.current() is None
    await think.publish("v1")
    assert await think.store.current() == "v1"
    assert await think.ttls("v1") == {-1}
    assert await think.store.info() == {"v1": {"triggers": 3, "model": "m"}}
    for trigger in TRIGGERS:
        raw = await think.rig.redis.get(think.rig.keys.x2q("v1", trigger))
        assert decode_list(trigger, raw) == _list("v1 list")


async def test_the_replaced_version_stays_for_a_while(think: Think) -> None:
    """Requests in flight still read it, and a rollback needs it."""
    await think.publish("v1")
    await think.publish("v2")
    assert await think.store.current() == "v2"
    assert (await think.ttls("v1"), await think.ttls("v2")) == ({6}, {-1})


async def test_later_flips_do_not_prolong_an_old_version(think: Think) -> None:
    """Each replaced version has one life."""
    await think.publish("v1")
    await think.publish("v2")
    key = think.rig.keys.x2q("v1", TRIGGERS[0])
    await think.rig.redis.expire(key, 60)
    await think.publish("v3")
    assert await think.rig.redis.ttl(key) <= 60
    assert (await think.ttls("v2"), await think.ttls("v3")) == ({6}, {-1})


async def test_rollback(think: Think) -> None:
    """The version before is current again, without TTL; the one left gets a TTL; then there is no further back."""
    with pytest.raises(PublishError, match="no earlier"):
        await think.store.rollback()
    await think.publish("v1")
    await think.publish("v2")
    assert await think.store.rollback() == "v1"
    assert await think.store.current() == "v1"
    assert (await think.ttls("v1"), await think.ttls("v2")) == ({-1}, {6})
    with pytest.raises(PublishError, match="no earlier"):
        await think.store.rollback()
    assert await think.store.current() == "v1"


async def test_an_abandoned_version_goes_by_itself(think: Think) -> None:
    """A job that was killed after staging leaves nothing for ever, and is no version to go back to."""
    await think.publish("v2")
    await think.store.stage("v1", {trigger: _list("half done") for trigger in TRIGGERS}, CONTEXTS)
    assert await think.ttls("v1") == {24, -2}
    assert list(await think.store.info()) == ["v2"]
    with pytest.raises(PublishError):
        await think.store.rollback()


async def test_a_concurrent_publish_is_refused(think: Think) -> None:
    """Who flips second learns of it; the first one's version stays current, the refused one expires."""
    other = think

    class Overtaken(X2QStore):
        """Someone else publishes just after we looked."""

        async def current(self) -> str | None:
            """Return what was current before they did."""
            before = await super().current()
            if before == "v1":
                await other.publish("v3")
            return before

    await think.publish("v1")
    slow = Think(think.rig, Overtaken)
    with pytest.raises(PublishError, match="moved away from v1 while v2"):
        await slow.publish("v2")
    assert await think.store.current() == "v3"
    assert await think.ttls("v3") == {-1}
    assert -1 not in await think.ttls("v2")


async def test_versions_sort_by_time() -> None:
    """Rolling back relies on it."""
    versions = [X2QStore.new_version() for _ in range(3)]
    assert len(set(versions)) == 3
    assert all(":" not in version for version in versions)
