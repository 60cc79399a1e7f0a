"""From the event streams to parts, each line once, whatever is killed.

1. Entries are read as the consumer `sink` of the group `sink`, so Redis knows what was delivered and not confirmed.
2. A part is written with the offsets that it commits (`workers.sink.parts`), in one rename.
3. Only then are its entries confirmed (XACK), and the stream is trimmed behind them.

Killed before 2, the entries are delivered again and written. Killed between 2 and 3, they are delivered again and
known by the offsets, so they are only confirmed. A line that a front end sends twice is known by its `event_id`, among
the last `sink.dedup_window` lines. One sink drains at a time, by a lease: two writers could not agree on offsets.
https://redis.io/docs/latest/develop/data-types/streams/
"""

import time
import uuid
from collections import Counter, OrderedDict
from collections.abc import Iterable
from typing import Any, Final

import orjson
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from service.contracts.errors import ConfigError, StoreUnavailable
from service.contracts.keys import Keys
from service.contracts.settings import SinkSettings
from workers.sink import metrics
from workers.sink.parts import Offsets, PartStore, problem

GROUP: Final = "sink"
CONSUMER: Final = "sink"
_RENEW: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) and 1 or 0
"""
Entry = tuple[bytes, dict[bytes, bytes]]


class Sink:
    """Drains all partitions."""

    def __init__(self, redis: Redis, keys: Keys, parts: PartStore, settings: SinkSettings) -> None:
        """Write to `parts`; call `open` first."""
        self._redis, self._keys, self._parts, self._settings = redis, keys, parts, settings
        self._token = uuid.uuid4().hex
        self._rows: list[dict[str, Any]] = []
        self._since = 0.0
        self._offsets: Offsets = {}
        self._read: dict[int, list[bytes]] = {}
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()
        self.written: Counter[str] = Counter()

    async def open(self) -> None:
        """Take the lease, make the groups, and read again what was delivered but not confirmed.

        Raises:
            ConfigError: another sink drains this namespace.
            StoreUnavailable: Redis did not answer.
        """
        await self.hold()
        # What was read and not written comes again, and must not pass for a duplicate of itself.
        self._rows, self._offsets, self._read = [], {}, {}
        self._known.clear()
        self._remember(self._parts.latest_event_ids(self._settings.dedup_window))
        try:
            for partition in range(self._keys.partitions):
                await self._make_group(partition)
            while await self._take("0"):
                await self.flush()
        except (RedisError, OSError) as error:
            raise StoreUnavailable(f"Redis does not answer: {error}") from error

    async def hold(self) -> None:
        """Take or renew the lease.

        Raises:
            ConfigError: another sink holds it.
            StoreUnavailable: Redis did not answer.
        """
        life = round(self._settings.lease_s * 1000)
        try:
            held = await self._redis.eval(_RENEW, 1, self._keys.sink_lease(), self._token, life)
        except (RedisError, OSError) as error:
            raise StoreUnavailable(f"Redis does not answer: {error}") from error
        if not held:
            raise ConfigError(
                "another sink drains these streams: stop it first, or wait "
                f"{self._settings.lease_s:.0f} s if it was killed"
            )

    async def close(self) -> None:
        """Give the lease back."""
        if await self._redis.get(self._keys.sink_lease()) == self._token.encode():
            await self._redis.delete(self._keys.sink_lease())

    async def step(self) -> int:
        """Read what is new, write a part if it is time to; return how many entries were read.

        Raises:
            StoreUnavailable: Redis did not answer.
            ConfigError: another sink took over.
            OSError: a part could not be written; the lines wait, and nothing was confirmed.
        """
        await self.hold()
        if self.due():
            await self.flush()
        try:
            return await self._take(">")
        except (RedisError, OSError) as error:
            raise StoreUnavailable(f"Redis does not answer: {error}") from error

    def due(self) -> bool:
        """Whether lines wait that are many or old enough for a part."""
        waiting = len(self._rows) >= self._settings.part_rows
        return waiting or bool(self._read and time.monotonic() - self._since >= self._settings.flush_s)

    async def flush(self) -> None:
        """Write what waits as a part, then confirm it and trim the streams.

        Raises:
            OSError: see `PartStore.write`.
            StoreUnavailable: Redis did not answer; the part is written, and known when its entries come again.
        """
        if not self._read:
            return
        if self._rows:
            with metrics.WRITE_SECONDS.time():
                size = self._parts.write(self._rows, self._offsets)
            metrics.PARTS.inc()
            metrics.BYTES.inc(size)
            types = Counter(str(row["type"]) for row in self._rows)
            for kind, count in types.items():
                metrics.ROWS.labels(kind).inc(count)
            self.written.update(types)
        read, self._rows, self._offsets, self._read = self._read, [], {}, {}
        metrics.LAG_SECONDS.set(0)
        try:
            for partition, ids in read.items():
                stream = self._keys.events(partition)
                pipe = self._redis.pipeline(transaction=False)
                pipe.xack(stream, GROUP, *ids)
                pipe.xinfo_groups(stream)
                _, groups = await pipe.execute()
                needed = [await self._needed(stream, group) for group in groups]
                await self._redis.xtrim(stream, minid=min(needed, key=_order), approximate=False)
        except (RedisError, OSError) as error:
            raise StoreUnavailable(f"Redis does not answer: {error}") from error

    async def _needed(self, stream: str, group: dict[str, Any]) -> str:
        """Return the first id that a group still needs: other groups may lag, and ours may have more to read again."""
        if group["pending"]:
            return _text((await self._redis.xpending(stream, _text(group["name"])))["min"])
        return _text(group["last-delivered-id"])

    async def _make_group(self, partition: int) -> None:
        try:
            await self._redis.xgroup_create(self._keys.events(partition), GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    async def _take(self, after: str) -> int:
        """Read entries of all partitions: new ones (">"), or delivered ones that were not confirmed ("0")."""
        count = max(1, self._settings.part_rows // self._keys.partitions)  # all together no more than a part
        pipe = self._redis.pipeline(transaction=False)
        for partition in range(self._keys.partitions):
            pipe.xreadgroup(GROUP, CONSUMER, {self._keys.events(partition): after}, count=count)
            pipe.xlen(self._keys.events(partition))
        answers = await pipe.execute()
        taken = 0
        rejected: list[dict[str, Any]] = []
        for partition, answer in enumerate(answers[::2]):
            for entry_id, fields in _entries(answer):
                taken += 1
                if not self._read:
                    self._since = time.monotonic()
                self._read.setdefault(partition, []).append(entry_id)
                if reason := self._keep(partition, entry_id, fields or {}):
                    metrics.REJECTS.labels(reason).inc()
                    content = {str(key): repr(value) for key, value in (fields or {}).items()}
                    rejected.append({"partition": partition, "id": entry_id.decode(), "reason": reason, **content})
        if rejected:
            self._parts.reject(rejected)
        metrics.LAG_ENTRIES.set(sum(answers[1::2]))
        metrics.LAG_SECONDS.set(time.monotonic() - self._since if self._read else 0)
        return taken

    def _keep(self, partition: int, entry_id: bytes, fields: dict[bytes, bytes]) -> str | None:
        """Take an entry's line into the next part, unless it is written already; return why it cannot be read."""
        last = self._parts.offsets.get(partition)
        if last is not None and _order(entry_id.decode()) <= _order(last):
            return None
        self._offsets[partition] = entry_id.decode()
        try:
            row = orjson.loads(fields[b"e"])
        except KeyError:
            return "no_content"
        except orjson.JSONDecodeError:
            return "not_json"
        if (reason := problem(row)) is not None:
            return reason
        if row.get("event_id") is not None:
            key = (row["user_id"], row["event_id"])
            if key in self._known:
                metrics.DUPLICATES.inc()
                return None
            self._remember([key])
        self._rows.append(row)
        return None

    def _remember(self, keys: Iterable[tuple[str, str]]) -> None:
        for key in keys:
            self._known[key] = None
        while len(self._known) > self._settings.dedup_window:
            self._known.popitem(last=False)


def _entries(answer: Any) -> list[Entry]:
    """Return the entries of one stream; RESP3 answers a map of stream to batches, RESP2 a list of pairs."""
    streams = answer.values() if isinstance(answer, dict) else [entries for _, entries in answer or ()]
    found: list[Entry] = []
    for entries in streams:
        for one in entries:
            found += one if isinstance(one, list) else [one]
    return found


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _order(entry_id: str) -> tuple[int, int]:
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence or 0)
