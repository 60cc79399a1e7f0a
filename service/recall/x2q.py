"""What the shopper's latest triggers lead to: a click changes the hints at once, before any regeneration."""

import asyncio
from collections.abc import Sequence

from service.clustered import Pipelined
from service.contracts.codecs import decode_list
from service.contracts.errors import CorruptValue, StoreUnavailable
from service.contracts.keys import Keys, Trigger
from service.metrics import CORRUPT, X2Q_CACHE
from service.ranking.bounded import Bounded
from service.ranking.candidates import LiveTrigger, Written, from_x2q
from service.ranking.merge import Proposal, Row, rows

# Looking a label up costs more than counting.
_CACHED, _FETCHED, _ABSENT = (X2Q_CACHE.labels(outcome) for outcome in ("cached", "fetched", "absent"))

_VERSIONS = 2
"""The current version, and the one before it: right after a flip its lists stand in."""


class X2QReader:
    """Looks lists up by version and trigger, through a bounded in-process cache. A version never changes."""

    def __init__(self, redis: Pipelined, keys: Keys, cache_size: int = 50_000) -> None:
        """Read through `redis`; keep at most `cache_size` lists of a version, absent ones included."""
        self._redis = redis
        self._keys = keys
        self._cache_size = cache_size
        self._versions: Bounded[str, Bounded[Trigger, list[Row] | None]] = Bounded(_VERSIONS)
        self._reads: dict[tuple[str, Trigger], asyncio.Task[None]] = {}
        """What is being read, so that nobody else reads it too."""

    def missing(self, version: str, triggers: Sequence[LiveTrigger]) -> list[Trigger]:
        """Return the keys that the cache knows nothing of."""
        lists = self._lists(version)
        wanted = [key for trigger in triggers for key in trigger.keys]
        missing = [key for key in wanted if key not in lists]
        _CACHED.inc(len(wanted) - len(missing))
        return missing

    def knows(self, version: str, triggers: Sequence[LiveTrigger]) -> bool:
        """Whether the cache has all that the triggers need."""
        lists = self._lists(version)
        return all(key in lists for trigger in triggers for key in trigger.keys)

    async def fetch(self, version: str, missing: Sequence[Trigger], timeout_s: float) -> None:
        """Bring lists into the cache, in one round trip, or in those of other requests that want the same.

        A read ends by Redis's own timeout: who gives up, or has less time, does not stop it for the others.

        Raises:
            StoreUnavailable: Redis did not answer within `timeout_s`, or its own timeout.
        """
        _, late = await asyncio.wait(reads := self.begin(version, missing), timeout=timeout_s)
        if late:
            raise StoreUnavailable(f"Redis did not answer within {timeout_s * 1000:.0f} ms")
        for read in reads:
            read.result()

    def begin(self, version: str, missing: Sequence[Trigger]) -> set[asyncio.Task[None]]:
        """Begin to bring lists into the cache; return the reads, some of which others may have begun."""
        # Two triggers of a shopper may name one key.
        if unread := [key for key in dict.fromkeys(missing) if (version, key) not in self._reads]:
            read = asyncio.create_task(self._read(version, unread))
            self._reads.update(dict.fromkeys([(version, key) for key in unread], read))
            read.add_done_callback(lambda done: self._end(done, version, unread))
        return {self._reads[version, key] for key in missing}

    def _end(self, read: asyncio.Task[None], version: str, keys: Sequence[Trigger]) -> None:
        for key in keys:
            del self._reads[version, key]
        if not read.cancelled():
            read.exception()  # nobody may be left to hear of a failure

    async def _read(self, version: str, missing: Sequence[Trigger]) -> None:
        raws = await self._redis.execute("MGET", *(self._keys.x2q(version, key) for key in missing))
        for trigger, raw in zip(missing, raws, strict=True):
            (_ABSENT if raw is None else _FETCHED).inc()
            self._lists(version).put(trigger, self._decode(trigger, raw))

    @staticmethod
    def _decode(trigger: Trigger, raw: bytes | None) -> list[Row] | None:
        if raw is None:
            return None
        try:
            return rows(decode_list(trigger, raw).queries)
        except CorruptValue as error:
            CORRUPT.labels("x2q", error.reason).inc()
            return None

    def recall(self, version: str, triggers: Sequence[LiveTrigger], written: Written | None) -> list[Proposal]:
        """Return proposals from what the cache holds; a trigger newer than the shopper's list outweighs it."""
        return from_x2q(triggers, self._lists(version).get, written)

    def _lists(self, version: str) -> Bounded[Trigger, list[Row] | None]:
        lists = self._versions.get(version)
        return self._versions.put(version, Bounded(self._cache_size)) if lists is None else lists
