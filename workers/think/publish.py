"""The life of an x2q version: written beside the current one, checked, then one pointer flips.

Lists are written with a TTL, so an abandoned version goes away by itself; the TTL is taken off just before the flip and
put on the replaced version after it. The same steps make a rollback. Beside its lists a version keeps what each was
made from (`contexts`), so that the next one generates only what would come out otherwise; a killed run's count too.
"""

import time
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Any

import orjson
from redis.asyncio import Redis

from service.contracts import lua
from service.contracts.codecs import QueryList, decode_list, encode_list
from service.contracts.errors import AigqError, CorruptValue
from service.contracts.keys import Keys, Trigger, version_name

_STAGING_TTL_S = 24 * 3600
_SCAN_BATCH = 1000


class PublishError(AigqError):
    """A version may not or could not be made current; the message says why. The current one is untouched."""


class X2QStore:
    """Versions of x2q in Redis."""

    def __init__(self, redis: Redis, keys: Keys, keep_previous_s: float) -> None:
        """Keep a replaced version for `keep_previous_s`."""
        self._redis = redis
        self._keys = keys
        self._keep_ms = round(keep_previous_s * 1000)

    async def current(self) -> str | None:
        """Return the current version."""
        raw = await self._redis.get(self._keys.x2q_pointer())
        return str(raw, "ascii") if isinstance(raw, bytes) else None

    async def info(self) -> dict[str, dict[str, Any]]:
        """Return what each version in Redis says of itself, by version."""
        found: dict[str, dict[str, Any]] = {}
        async for key in self._scan(self._keys.x2q_pattern()):
            version = self._keys.x2q_version(key)
            if key == self._keys.x2q_info(version) and (raw := await self._redis.get(key)):
                found[version] = orjson.loads(raw)
        return found

    @staticmethod
    def new_version() -> str:
        """Return a fresh version name that sorts by time."""
        return version_name(time.time(), uuid.uuid4().hex[:6])

    async def unfinished(self) -> list[str]:
        """Return versions that have lists but were never published (killed, refused, at work now), newest first."""
        contexts: set[str] = set()
        told: set[str] = set()
        async for key in self._scan(self._keys.x2q_pattern()):
            version = self._keys.x2q_version(key)
            if key == self._keys.x2q_contexts(version):
                contexts.add(version)
            elif key == self._keys.x2q_info(version):
                told.add(version)
        return sorted(contexts - told, reverse=True)

    async def stage(
        self,
        version: str,
        lists: Mapping[Trigger, QueryList],
        contexts: Mapping[Trigger, str],
        reasons: Mapping[Trigger, str] = MappingProxyType({}),
    ) -> None:
        """Write lists of a version that is not current yet, the digests of what they were made from, and rationales."""
        if not lists:
            return
        pipe = self._redis.pipeline(transaction=False)
        for trigger, value in lists.items():
            pipe.set(self._keys.x2q(version, trigger), encode_list(trigger, value), ex=_STAGING_TTL_S)
        await pipe.execute()
        # Only now: a context never speaks of a list that is not there.
        noted = ((self._keys.x2q_reasons(version), reasons), (self._keys.x2q_contexts(version), contexts))
        for key, said in noted:
            fields = [part for trigger in lists if trigger in said for part in (trigger, said[trigger])]
            if fields:
                await self._redis.eval(lua.NOTE, 1, key, _STAGING_TTL_S, *fields)

    async def contexts(self, version: str) -> dict[Trigger, str]:
        """Return the triggers of a version's lists, and the digest of what each was made from."""
        found = self._redis.hscan_iter(self._keys.x2q_contexts(version), count=_SCAN_BATCH)
        return {trigger.decode(): digest.decode() async for trigger, digest in found}

    async def reasons(self, version: str, triggers: Iterable[Trigger]) -> dict[Trigger, str]:
        """Return the rationales of a version's lists, of those that have one."""
        wanted = list(triggers)
        found = await self._redis.hmget(self._keys.x2q_reasons(version), wanted) if wanted else []
        return {trigger: raw.decode() for trigger, raw in zip(wanted, found, strict=True) if isinstance(raw, bytes)}

    async def lists(self, version: str, triggers: Iterable[Trigger]) -> dict[Trigger, QueryList]:
        """Return those lists of a version that are there and can be read."""
        wanted: Sequence[Trigger] = list(triggers)
        pipe = self._redis.pipeline(transaction=False)
        for trigger in wanted:
            pipe.get(self._keys.x2q(version, trigger))
        found: dict[Trigger, QueryList] = {}
        for trigger, raw in zip(wanted, await pipe.execute(), strict=True):
            if raw is not None:
                with suppress(CorruptValue):  # as good as absent: it is generated anew
                    found[trigger] = decode_list(trigger, raw)
        return found

    async def publish(self, version: str, info: Mapping[str, Any]) -> None:
        """Make a staged version current.

        Raises:
            PublishError: someone else published meanwhile.
        """
        await self._redis.set(self._keys.x2q_info(version), orjson.dumps(dict(info)), ex=_STAGING_TTL_S)
        try:
            await self._make_current(version)
        except PublishError:
            await self._redis.delete(self._keys.x2q_info(version))  # never something to roll back to
            raise

    async def rollback(self) -> str:
        """Make the newest version before the current one current again; return it.

        Raises:
            PublishError: there is none left.
        """
        earlier = await self.previous(await self.current())
        if earlier is None:
            raise PublishError("there is no earlier x2q version in Redis to go back to: publish a new one")
        await self._make_current(earlier)
        return earlier

    async def previous(self, version: str | None) -> str | None:
        """Return the newest published version before `version` (None: of all) that is still there."""
        return max((one for one in await self.info() if version is None or one < version), default=None)

    async def _make_current(self, version: str) -> None:
        before = await self.current()
        async for batch in self._batches(self._keys.x2q_pattern(version)):
            pipe = self._redis.pipeline(transaction=False)
            for key in batch:
                pipe.persist(key)
            await pipe.execute()
        moved = await self._redis.eval(lua.FLIP, 1, self._keys.x2q_pointer(), before or "", version)
        current = version if moved else await self.current()
        async for batch in self._batches(self._keys.x2q_pattern()):
            pipe = self._redis.pipeline(transaction=False)
            for key in batch:
                if self._keys.x2q_version(key) != current:
                    pipe.pexpire(key, self._keep_ms, nx=True)
            await pipe.execute()
        if not moved:
            raise PublishError(f"x2q moved away from {before} while {version} was published: look at aigq think status")

    async def _scan(self, pattern: str) -> AsyncIterator[str]:
        async for key in self._redis.scan_iter(match=pattern, count=_SCAN_BATCH):
            yield key.decode()

    async def _batches(self, pattern: str) -> AsyncIterator[list[str]]:
        batch: list[str] = []
        async for key in self._scan(pattern):
            batch.append(key)
            if len(batch) == _SCAN_BATCH:
                yield batch
                batch = []
        if batch:
            yield batch
