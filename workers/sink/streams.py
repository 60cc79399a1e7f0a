"""The event streams as a sink sees them: one reader, deliveries in order, trimmed behind what is confirmed."""

import os
import socket
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.lock import Lock
from redis.exceptions import LockError, LockNotOwnedError, RedisError, ResponseError

from service.contracts.errors import ConfigError, StoreUnavailable
from service.contracts.keys import Keys, shopper_sid

GROUP: Final = "sink"
CONSUMER: Final = "sink"
_PER_CALL: Final = 5_000
_START: Final = "0-0"
Entries = dict[str, list[tuple[str, dict[bytes, bytes]]]]
"""Stream -> (id, fields) in order; fields are empty if the entry was trimmed away."""


class HeldElsewhere(ConfigError):
    """Another sink drains these streams."""


class Streams:
    """All partitions' streams."""

    def __init__(self, redis: Redis, keys: Keys, lease_s: float) -> None:
        """Read through `redis`; call `open` first, and again after every `StoreUnavailable`."""
        self._redis, self._keys, self._lease_s = redis, keys, lease_s
        self._names = [keys.events(partition) for partition in range(keys.partitions)]
        self._token = f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex}"
        self._lock = Lock(redis, keys.sink_lease(), timeout=lease_s, thread_local=False)
        self._renewed = -lease_s
        self._last: dict[str, str] = {}
        self._catching_up = True

    async def hold(self) -> None:
        """Take the lease, or renew it once a third of it is over.

        Raises:
            HeldElsewhere: another sink has it.
            StoreUnavailable: Redis did not answer.
        """
        if time.monotonic() - self._renewed < self._lease_s / 3:
            return
        try:
            if not (await self._lock.owned() or await self._lock.acquire(blocking=False, token=self._token)):
                holder = _text(await self._redis.get(self._lock.name) or "").rpartition("/")[0]
                raise HeldElsewhere(
                    f"another sink drains these streams (host/process {holder}): stop it first; "
                    f"if it was killed, its lease ends in {self._lease_s:.0f} s at most"
                )
            now = time.monotonic()
            await self._lock.reacquire()
        except LockNotOwnedError as error:
            raise StoreUnavailable("the lease ran out just now") from error
        except (RedisError, OSError) as error:
            raise StoreUnavailable(f"Redis does not answer: {error}") from error
        self._renewed = now

    async def let_go(self) -> None:
        """Give the lease back, if it is still ours.

        Raises:
            StoreUnavailable: Redis did not answer; the lease then ends by itself.
        """
        try:
            await self._lock.release()
        except LockError:
            return
        except (RedisError, OSError) as error:
            raise StoreUnavailable(f"Redis does not answer: {error}") from error

    async def open(self) -> tuple[list[str], int]:
        """Make missing groups; return the streams that had none, and how many entries were cut off unread.

        Raises:
            StoreUnavailable: Redis did not answer.
        """
        pipe = self._redis.pipeline(transaction=False)
        for name in self._names:
            pipe.xgroup_create(name, GROUP, id="0", mkstream=True)
        begun = []
        for name, answer in zip(self._names, await self._execute(pipe, raise_on_error=False), strict=True):
            if not isinstance(answer, Exception):
                begun.append(name)
                self._last.pop(name, None)
            elif not (isinstance(answer, ResponseError) and "BUSYGROUP" in str(answer)):
                raise StoreUnavailable(f"Redis does not answer: {answer}") from answer
        for name in self._names:
            pipe.xinfo_stream(name)
            pipe.xinfo_groups(name)
        flat = await self._execute(pipe)
        self._catching_up = True
        return begun, sum(_cut(stream, groups) for stream, groups in zip(flat[::2], flat[1::2], strict=True))

    async def read(self, count: int) -> tuple[Entries, bool]:
        """Return up to `count` entries of each stream, and whether there may be more right now.

        First come the entries that were delivered and neither confirmed nor seen by this object: those of a sink that
        was killed, and those whose delivery a broken connection swallowed. So each stream is seen without gaps.

        Raises:
            StoreUnavailable: Redis did not answer; call `open`.
        """
        pipe = self._redis.pipeline(transaction=False)
        for name in self._names:
            after = self._last.get(name, _START) if self._catching_up else ">"
            pipe.xreadgroup(GROUP, CONSUMER, {name: after}, count=count)
        answers = await self._execute(pipe)
        found = {name: got for name, answer in zip(self._names, answers, strict=True) if (got := _entries(answer))}
        for name, got in found.items():
            self._last[name] = got[-1][0]
        if self._catching_up:
            self._catching_up = bool(found)
            return found, True
        return found, any(len(got) >= count for got in found.values())

    async def confirm(self, ids: Mapping[str, Sequence[str]]) -> None:
        """Confirm entries, then trim their streams up to what some consumer group still needs.

        Raises:
            StoreUnavailable: Redis did not answer; confirming again is safe.
        """
        pipe = self._redis.pipeline(transaction=False)
        for name, confirmed in ids.items():
            for begin in range(0, len(confirmed), _PER_CALL):
                pipe.xack(name, GROUP, *confirmed[begin : begin + _PER_CALL])
        await self._execute(pipe)
        for name in ids:
            pipe.xinfo_groups(name)
        groups = dict(zip(ids, await self._execute(pipe), strict=True))
        lagging = [(name, _text(group["name"])) for name, all_ in groups.items() for group in all_ if group["pending"]]
        for name, group in lagging:
            pipe.xpending(name, group)
        first = dict(zip(lagging, await self._execute(pipe), strict=True))
        for name, all_ in groups.items():
            # A group needs its oldest unconfirmed entry and all after it, else all after what it was delivered last.
            needed = [_after(_text(group["last-delivered-id"])) for group in all_ if not group["pending"]]
            needed += [_text(first[pair]["min"]) for pair in lagging if pair[0] == name and first[pair]["min"]]
            if needed:
                pipe.xtrim(name, minid=min(needed, key=_order), approximate=False)
        await self._execute(pipe)

    async def lag(self) -> int:
        """Return how many entries are not confirmed: not read, or read and waiting for their part.

        Raises:
            StoreUnavailable: Redis did not answer.
        """
        pipe = self._redis.pipeline(transaction=False)
        for name in self._names:
            pipe.xinfo_groups(name)
        ours = [group for groups in await self._execute(pipe) for group in groups if _text(group["name"]) == GROUP]
        return sum(int(group["pending"]) + int(group.get("lag") or 0) for group in ours)

    async def refusing(self, user_ids: Iterable[str]) -> set[str]:
        """Return the shoppers who refuse by now that anything about them is kept.

        Raises:
            StoreUnavailable: Redis did not answer.
        """
        asked = sorted(set(user_ids))
        refused: set[str] = set()
        for begin in range(0, len(asked), _PER_CALL):
            some = asked[begin : begin + _PER_CALL]
            pipe = self._redis.pipeline(transaction=False)
            for user_id in some:
                pipe.hget(self._keys.state(shopper_sid(user_id)), "consent")
            answers = await self._execute(pipe)
            refused.update(user_id for user_id, consent in zip(some, answers, strict=True) if consent == b"0")
        return refused

    @staticmethod
    async def _execute(pipe: Pipeline, *, raise_on_error: bool = True) -> list[Any]:
        try:
            results: list[Any] = await pipe.execute(raise_on_error=raise_on_error)
        except (RedisError, OSError) as error:
            raise StoreUnavailable(f"Redis does not answer: {error}") from error
        return results


def _entries(answer: Any) -> list[tuple[str, dict[bytes, bytes]]]:
    """Return the entries of one stream's answer: in RESP3 a map of stream to batches, empty if there are none."""
    return [(_text(id_), fields) for batches in (answer or {}).values() for batch in batches for id_, fields in batch]


def _cut(stream: Mapping[str, Any], groups: Sequence[Mapping[str, Any]]) -> int:
    """Return how many entries were neither read nor are there any more, as far as Redis counted them."""
    (ours,) = (group for group in groups if _text(group["name"]) == GROUP)
    first, read = stream["first-entry"], ours["entries-read"]
    if first is None or read is None or not is_after(_text(first[0]), _text(ours["last-delivered-id"])):
        return 0
    return max(0, int(stream["entries-added"]) - int(read) - int(stream["length"]))


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _after(entry_id: str) -> str:
    milliseconds, sequence = _order(entry_id)
    return f"{milliseconds}-{sequence + 1}"


def _order(entry_id: str) -> tuple[int, int]:
    """Return an id as numbers, so that ids compare as Redis has them."""
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence or 0)


def is_after(entry_id: str, other: str) -> bool:
    """Whether an entry came later than another one of its stream."""
    return _order(entry_id) > _order(other)


def milliseconds(entry_id: str) -> int:
    """Return when Redis took an entry (epoch ms)."""
    return _order(entry_id)[0]
