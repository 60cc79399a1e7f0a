"""Lists that are missing, old or another model's: who comes back is marked due, off the hot path, and served meanwhile.

Stale-while-revalidate (RFC 5861). An event marks a shopper due by itself; this is for those whose list expired, was
lost, or was written long ago or by another model than today's. The last are so many after a change that they have a
rate of their own.
"""

import asyncio
import logging
import time
import zlib
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from service.contracts import lua
from service.contracts.keys import Keys, shopper_sid
from service.metrics import STALE, STORE_ERRORS
from service.recall.u2q import Shopper

_log = logging.getLogger(__name__)
_FLUSH_S = 1.0
_JITTER: Final = 0.1


class _Bucket:
    """A token bucket that holds a second's worth."""

    def __init__(self, per_s: float) -> None:
        self._per_s, self._most = per_s, max(1.0, per_s) if per_s else 0.0
        self._tokens, self._at = self._most, time.monotonic()

    def take(self) -> bool:
        now = time.monotonic()
        self._tokens, self._at = min(self._most, self._tokens + self._per_s * (now - self._at)), now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class StaleLists:
    """Collects shoppers; each is marked once, however often they ask."""

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        fresh_s: float,
        capacity: int = 10_000,
        *,
        model: str = "",
        renew_per_s: float = 0.0,
    ) -> None:
        """A list is old after `fresh_for` so long; at most `capacity` shoppers wait for a flush, others ask again.

        Lists are to be by `model`; others are renewed at `renew_per_s`, at most a second's worth at once.
        """
        self._redis = redis
        self._keys = keys
        self._fresh_s = fresh_s
        self._model = model
        self._renewals = _Bucket(renew_per_s)
        self._capacity = capacity
        self._waiting: set[str] = set()

    def look(self, user_id: str, shopper: Shopper) -> None:
        """Take a shopper whose list should be made anew; costs no I/O. Without behaviour there is nothing to tell."""
        if not shopper.behaviour or len(self._waiting) >= self._capacity:
            return
        sid = shopper_sid(user_id)
        if shopper.u2q is None:
            reason = "missing"
        elif time.time() - shopper.u2q.generated_ms / 1000 > fresh_for(sid, self._fresh_s):
            reason = "old"
        elif shopper.u2q.model != self._model and sid not in self._waiting and self._renewals.take():
            reason = "model"
        else:
            return
        STALE.labels(reason).inc()
        self._waiting.add(sid)

    async def run(self) -> None:
        """Flush until cancelled."""
        while True:
            await asyncio.sleep(_FLUSH_S)
            await self.flush()

    async def flush(self) -> None:
        """Mark who waits as due now, ahead of those with a list. A lease or a mark still to come stays as it is."""
        waiting, self._waiting = self._waiting, set()
        if not waiting:
            return
        by_partition: dict[int, list[str]] = {}
        for sid in waiting:
            by_partition.setdefault(self._keys.partition(sid), []).append(sid)
        pipe = self._redis.pipeline(transaction=False)
        for partition, sids in by_partition.items():
            pipe.eval(lua.HURRY, 2, self._keys.due(partition), self._keys.leases(partition), *sids)
        try:
            await pipe.execute()
        except (RedisError, OSError) as error:
            STORE_ERRORS.labels("stale").inc()
            _log.warning("%d shoppers with a stale list were not marked due: %s", len(waiting), error)


def fresh_for(sid: str, fresh_s: float) -> float:
    """Return for how long a shopper's list is fresh: `fresh_s`, give or take a tenth.

    Always the same for a shopper, so that one list is not fresh and old by turns; lists that were written together, say
    for a new model, do not become old together.
    """
    return fresh_s * (1 - _JITTER + 2 * _JITTER * zlib.crc32(sid.encode("ascii")) / 2**32)
