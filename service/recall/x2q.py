"""What the shopper's latest triggers lead to: a click changes the hints at once, before any regeneration."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cachetools import LRUCache
from redis.asyncio import Redis
from redis.exceptions import RedisError

from service.contracts.codecs import BehaviourEntry, QueryList, decode_list
from service.contracts.errors import CorruptValue, StoreUnavailable
from service.contracts.keys import Keys, Trigger, category_trigger, item_trigger, query_trigger
from service.metrics import CORRUPT, X2Q_CACHE
from service.ranking.catalogue import Catalogue
from service.ranking.merge import Candidate, trigger_weight

MAX_TRIGGERS = 4


@dataclass(frozen=True, slots=True)
class LiveTrigger:
    """A recent action as x2q keys, most specific first; the first that has a list is used."""

    keys: tuple[Trigger, ...]
    ts: float


def live_triggers(behaviour: Sequence[BehaviourEntry], catalogue: Catalogue) -> list[LiveTrigger]:
    """Return the latest distinct triggers, newest first. An item falls back to its category."""
    triggers: list[LiveTrigger] = []
    seen: set[str] = set()
    for entry in sorted(behaviour, key=lambda e: -e.ts):
        keys: tuple[Trigger, ...]
        if entry.type in {"search", "hint_click"}:
            keys = (query_trigger(entry.ref),)
        else:
            item = catalogue.item(entry.ref)
            keys = (item_trigger(entry.ref),)
            if item is not None:
                keys = (*keys, category_trigger(item.category))
        if keys[0] not in seen:
            seen.add(keys[0])
            triggers.append(LiveTrigger(keys, entry.ts))
        if len(triggers) == MAX_TRIGGERS:
            break
    return triggers


class X2QReader:
    """Looks lists up by version and trigger, through a bounded in-process cache. A version never changes."""

    def __init__(self, redis: Redis, keys: Keys, cache_size: int = 50_000) -> None:
        """Read through `redis`; keep at most `cache_size` lists, absent ones included."""
        self._redis = redis
        self._keys = keys
        self._cache: LRUCache[tuple[str, Trigger], QueryList | None] = LRUCache(cache_size)

    def missing(self, version: str, triggers: Sequence[LiveTrigger]) -> list[Trigger]:
        """Return the keys that the cache knows nothing of."""
        wanted = [key for trigger in triggers for key in trigger.keys]
        missing = [key for key in wanted if (version, key) not in self._cache]
        X2Q_CACHE.labels("cached").inc(len(wanted) - len(missing))
        return missing

    async def fetch(self, version: str, missing: Sequence[Trigger]) -> None:
        """Bring lists into the cache, in one round trip.

        Raises:
            StoreUnavailable: Redis did not answer within the socket timeout.
        """
        try:
            raws: list[Any] = await self._redis.mget([self._keys.x2q(version, key) for key in missing])
        except (RedisError, OSError) as error:
            raise StoreUnavailable(str(error)) from error
        for trigger, raw in zip(missing, raws, strict=True):
            X2Q_CACHE.labels("absent" if raw is None else "fetched").inc()
            self._cache[(version, trigger)] = self._decode(trigger, raw)

    @staticmethod
    def _decode(trigger: Trigger, raw: bytes | None) -> QueryList | None:
        if raw is None:
            return None
        try:
            return decode_list(trigger, raw)
        except CorruptValue as error:
            CORRUPT.labels("x2q", error.reason).inc()
            return None

    def recall(self, version: str, triggers: Sequence[LiveTrigger], u2q_generated_s: float) -> list[Candidate]:
        """Return candidates from what the cache holds; a trigger newer than the shopper's list weighs more."""
        candidates: list[Candidate] = []
        for position, trigger in enumerate(triggers):
            weight = trigger_weight(position, fresh=trigger.ts > u2q_generated_s)
            for key in trigger.keys:
                found = self._cache.get((version, key))
                if found is not None:
                    candidates.extend(Candidate(q.query, "x2q", weight * q.score, key) for q in found.queries)
                    break
        return candidates
