"""x2q lookups: concurrent misses of one list are one read, and nobody's giving up stops the others."""

import asyncio
from typing import Any

import pytest

from service.contracts.codecs import QueryList, ScoredQuery, encode_list
from service.contracts.errors import StoreUnavailable
from service.contracts.keys import Keys, query_trigger
from service.ranking.candidates import LiveTrigger
from service.recall.x2q import X2QReader

_TENT, _LAMP, _SOAP = (query_trigger(query) for query in ("tent", "lamp", "soap"))
_KEYS = Keys("aigq", 8)


class _SlowRedis:
    """Answers when it is let; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.open = asyncio.Event()
        self.error: Exception | None = None

    async def execute(self, command: str, *names: str, timeout_s: float | None = None) -> list[bytes | None]:
        """See `PipelinedRedis.execute`."""
        assert (command, timeout_s) == ("MGET", None), "the read is everybody's, and has no request's deadline"
        self.asked.append(names)
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return [
            encode_list(key, QueryList(0, 1, "m", (ScoredQuery(f"{key[6:]} x", 1.0),)))
            for key in (name.split(":", 3)[3] for name in names)
        ]


def _reader(cache_size: int = 100) -> tuple[X2QReader, _SlowRedis]:
    redis: Any = _SlowRedis()
    return X2QReader(redis, _KEYS, cache_size), redis


def _found(reader: X2QReader, *keys: str) -> list[str]:
    proposals = reader.recall("v1", [LiveTrigger((key,), 0.0) for key in keys], None)
    return [query for one in proposals for _, query, _ in one.rows]


async def _settle() -> None:
    """Let everybody come as far as they can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_many_misses_are_one_read() -> None:
    """And who wants another list too reads only that one. Another version is another list."""
    reader, redis = _reader()
    waiting = [asyncio.create_task(reader.fetch("v1", [_TENT, _LAMP], 5.0)) for _ in range(50)]
    await _settle()
    waiting.append(asyncio.create_task(reader.fetch("v1", [_LAMP, _SOAP], 5.0)))
    waiting.append(asyncio.create_task(reader.fetch("v2", [_TENT], 5.0)))
    await _settle()
    redis.open.set()
    await asyncio.gather(*waiting)
    assert redis.asked == [
        (_KEYS.x2q("v1", _TENT), _KEYS.x2q("v1", _LAMP)), (_KEYS.x2q("v1", _SOAP),), (_KEYS.x2q("v2", _TENT),),
    ]  # fmt: skip
    assert _found(reader, _TENT, _LAMP, _SOAP) == ["tent x", "lamp x", "soap x"]


async def test_a_key_that_two_triggers_name_is_read_once() -> None:
    """And once it is read nothing is left of the reading: what the cache drops later is read again."""
    reader, redis = _reader()
    redis.open.set()
    for _ in range(2):
        await reader.fetch("v1", [_TENT, _TENT, _LAMP], 5.0)
        await _settle()
    assert redis.asked == [(_KEYS.x2q("v1", _TENT), _KEYS.x2q("v1", _LAMP))] * 2


async def test_who_gives_up_stops_nobody() -> None:
    """Neither the one who began the read, nor one with little time, whose deadline is its own."""
    reader, redis = _reader()
    first = asyncio.create_task(reader.fetch("v1", [_TENT], 5.0))
    await _settle()
    others = [asyncio.create_task(reader.fetch("v1", [_TENT], 5.0)) for _ in range(3)]
    with pytest.raises(StoreUnavailable, match="within 1 ms"):
        await reader.fetch("v1", [_TENT], 0.001)
    first.cancel()
    await asyncio.wait({first})
    assert first.cancelled()
    assert not any(other.done() for other in others)
    redis.open.set()
    await asyncio.gather(*others)
    assert len(redis.asked) == 1
    assert _found(reader, _TENT) == ["tent x"]


async def test_a_failure_is_everybodys_and_is_forgotten() -> None:
    """The next request asks anew; a failure that nobody waited for is no warning either."""
    reader, redis = _reader()
    redis.error = StoreUnavailable("away")
    waiting = [asyncio.create_task(reader.fetch("v1", [_TENT], 5.0)) for _ in range(3)]
    reader.begin("v1", [_LAMP])
    await _settle()
    redis.open.set()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [str(one) for one in outcomes] == ["away"] * 3
    redis.error = None
    await reader.fetch("v1", [_TENT], 5.0)
    assert _found(reader, _TENT) == ["tent x"]
    assert len(redis.asked) == 3


async def test_the_cache_is_bounded() -> None:
    """Two of five lists stay, the latest; what was forgotten is read again, and each version has its own two."""
    reader, redis = _reader(cache_size=2)
    redis.open.set()
    keys = [query_trigger(query) for query in ("tent", "lamp", "soap", "boots", "chair")]
    live = [LiveTrigger((key,), 0.0) for key in keys]
    await reader.fetch("v1", keys, 5.0)
    assert reader.missing("v1", live) == keys[:3]
    assert _found(reader, *keys) == ["boots x", "chair x"]
    await reader.fetch("v2", keys[:2], 5.0)
    assert reader.missing("v2", live) == keys[2:]
    assert reader.missing("v1", live) == keys[:3]
    await reader.fetch("v1", keys[:1], 5.0)
    assert reader.missing("v1", live) == keys[1:4]
    await reader.fetch("v3", keys[:1], 5.0)
    assert reader.missing("v2", live) == keys[2:], "of three versions, the first is forgotten"
    assert reader.missing("v1", live) == keys
    assert len(redis.asked) == 4
