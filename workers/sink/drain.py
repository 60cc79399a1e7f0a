"""From the event streams to parts, each line once, whatever is killed.

1. Entries are read as the consumer `sink` of the group `sink`, so Redis knows what was delivered and not confirmed.
2. A part is written with the offsets that it commits (`workers.sink.parts`), in one rename.
3. Only then are its entries confirmed (XACK), and the streams trimmed behind them (`workers.sink.streams`).

Killed before 2, the entries are delivered again and written. Killed between 2 and 3, they are delivered again and
known by the offsets, so they are only confirmed. Offsets say this much only if a stream is read without gaps; so after
each failure what was delivered and did not arrive is read before anything new.

A line that a front end sends twice is known by user and `event_id` among the last `sink.dedup_window` lines.

One sink drains at a time, as one consumer with a constant name: offsets need one order. A lease in Redis keeps a
second sink away, whatever directory it has; the directory's lock keeps a sink that only slept from writing beside its
successor.
https://redis.io/docs/latest/develop/data-types/streams/
"""

import hashlib
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any, Final

from service.contracts.settings import SinkSettings
from workers.sink import metrics
from workers.sink.lines import Line, UnreadableEntry, identity, parse
from workers.sink.parts import Offsets, PartStore
from workers.sink.quality import Quality
from workers.sink.streams import Streams, is_after, milliseconds

_ENTRIES_PER_READ: Final = 20_000
_log = logging.getLogger(__name__)


class Sink:
    """Drains all partitions."""

    def __init__(
        self, streams: Streams, parts: PartStore, partitions: int, settings: SinkSettings, quality: Quality
    ) -> None:
        """Write to `parts` and tell `quality`; call `open` first, and again after every `StoreUnavailable`."""
        self._streams, self._parts, self._settings, self._quality = streams, parts, settings, quality
        self._count = max(1, min(settings.part_rows, _ENTRIES_PER_READ) // partitions)
        self._lines: list[Line] = []
        self._rejects: list[dict[str, Any]] = []
        self._offsets: Offsets = {}
        self._waiting: dict[str, list[str]] = {}
        self._settled: dict[str, list[str]] = {}
        self._since = 0.0
        self._oldest_ms = 0
        self._known: OrderedDict[int, None] = OrderedDict()
        self._remember(_digest(pair) for pair in parts.latest(settings.dedup_window))
        self.written: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()

    async def open(self) -> None:
        """Take the lease and make the groups. What waits for its part stays.

        Raises:
            HeldElsewhere: another sink drains these streams.
            StoreUnavailable: Redis did not answer.
        """
        await self._streams.hold()
        begun, cut = await self._streams.open()
        self._parts.forget(begun)
        for stream in begun:
            self._offsets.pop(stream, None)
        if cut:
            metrics.OVERRUN.inc(cut)
            _log.error("sink: %d lines were cut off by redis.stream_maxlen before a sink read them", cut)

    async def step(self) -> bool:
        """Write a part if it is time to, then read; return whether there may be more to read right now.

        Raises:
            HeldElsewhere: another sink took over; what waits comes to it.
            StoreUnavailable: Redis did not answer.
            OSError: a part could not be written; its lines wait, and nothing was confirmed.
        """
        await self._streams.hold()
        if self._settled or self._due():
            await self.flush()
        entries, more = await self._streams.read(self._count)
        for stream, batch in entries.items():
            for entry_id, fields in batch:
                self._take(stream, entry_id, fields)
        metrics.LAG_ENTRIES.set(await self._streams.lag())
        metrics.LAG_SECONDS.set(max(0.0, time.time() - self._oldest_ms / 1000) if self._waiting else 0)
        return more

    async def flush(self) -> None:
        """Write what waits as a part, then confirm it.

        Raises:
            OSError: see `PartStore.write`; everything still waits.
            StoreUnavailable: Redis did not answer; what is written stays so, and is confirmed next time.
        """
        if self._waiting:
            await self._leave_out_refused()
            if self._rejects:
                self._parts.reject(self._rejects)
                self._rejects = []
            if self._lines:
                self._write()
            for stream, ids in self._waiting.items():
                self._settled.setdefault(stream, []).extend(ids)
            self._offsets, self._waiting = {}, {}
        if self._settled:
            await self._streams.confirm(self._settled)
            self._settled = {}

    def _due(self) -> bool:
        full = len(self._lines) >= self._settings.part_rows
        return full or bool(self._waiting and time.monotonic() - self._since >= self._settings.flush_s)

    def _take(self, stream: str, entry_id: str, fields: Mapping[bytes, bytes]) -> None:
        """Take an entry's line into the next part, unless it is written already."""
        if not self._waiting:
            self._since = time.monotonic()
            self._oldest_ms = milliseconds(entry_id)
        self._oldest_ms = min(self._oldest_ms, milliseconds(entry_id))
        self._waiting.setdefault(stream, []).append(entry_id)
        committed = self._parts.offsets.get(stream)
        if committed is not None and not is_after(entry_id, committed):
            return
        self._offsets[stream] = entry_id
        try:
            line = parse(fields)
        except UnreadableEntry as error:
            metrics.REJECTS.labels(error.reason).inc()
            self.left_out["rejected"] += 1
            content = {_readable(name): _readable(value) for name, value in fields.items()}
            self._rejects.append({"stream": stream, "id": entry_id, "reason": error.reason, "content": content})
            return
        if (pair := identity(line)) is not None:
            digest = _digest(pair)
            if digest in self._known:
                metrics.DUPLICATES.inc()
                self.left_out["duplicates"] += 1
                return
            self._remember([digest])
        self._lines.append(line)

    async def _leave_out_refused(self) -> None:
        """Drop lines of shoppers who refused consent while their lines waited in the stream."""
        refused = await self._streams.refusing(line["user_id"] for line in self._lines)
        if refused:
            kept = [line for line in self._lines if line["user_id"] not in refused]
            metrics.REFUSED.inc(len(self._lines) - len(kept))
            self.left_out["refused"] += len(self._lines) - len(kept)
            self._lines = kept

    def _write(self) -> None:
        with metrics.WRITE_SECONDS.time():
            size = self._parts.write(self._lines, self._offsets)
        self._quality.take(self._lines)
        types = Counter(str(line["type"]) for line in self._lines)
        self._lines = []
        metrics.PARTS.inc()
        metrics.BYTES.inc(size)
        for kind, count in types.items():
            metrics.ROWS.labels(kind).inc(count)
        self.written.update(types)
        _log.info("sink: wrote %d lines, %d bytes", types.total(), size)

    def _remember(self, digests: Iterable[int]) -> None:
        for digest in digests:
            self._known[digest] = None
            if len(self._known) > self._settings.dedup_window:
                self._known.popitem(last=False)


def _digest(pair: tuple[str, str]) -> int:
    """Return 64 bits in place of two ids: a million of them are held."""
    return int.from_bytes(hashlib.blake2b("\0".join(pair).encode(), digest_size=8).digest(), "big")


def _readable(value: bytes) -> str:
    return value.decode("utf-8", "replace")
