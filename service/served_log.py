"""Served lists go to the event streams off the hot path: a bounded buffer, flushed in batches.

What overflows, or meets a dead Redis, is counted and let go; behaviour events are the opposite (see `store.record`).
"""

import asyncio
import logging
from collections import deque
from typing import Any

import orjson

from service.clustered import Pipelined
from service.contracts.errors import StoreUnavailable
from service.contracts.keys import Keys, shopper_sid
from service.metrics import SERVED_DROPPED, STORE_ERRORS

_log = logging.getLogger(__name__)
_FLUSH_S = 0.2
_BATCH = 500


class ServedLog:
    """Buffers `hint_served` lines."""

    def __init__(self, redis: Pipelined, keys: Keys, stream_maxlen: int, capacity: int = 20_000) -> None:
        """Keep at most `capacity` lines waiting."""
        self._redis = redis
        self._keys = keys
        self._maxlen = stream_maxlen
        self._capacity = capacity
        # As bytes: while Redis stands still, thousands of lines as dictionaries would each time cost the garbage
        # collector 60 ms, in which nobody gets an answer (docs/performance.md).
        self._lines: deque[tuple[int, bytes]] = deque()

    def append(self, line: dict[str, Any]) -> None:
        """Take a line; costs no I/O."""
        if len(self._lines) >= self._capacity:
            SERVED_DROPPED.inc()
            return
        self._lines.append((self._keys.partition(shopper_sid(line["user_id"])), orjson.dumps(line)))

    async def run(self) -> None:
        """Flush until cancelled."""
        while True:
            await asyncio.sleep(_FLUSH_S)
            await self.flush()

    async def flush(self) -> None:
        """Write all that waits. A batch that Redis does not take is dropped and counted."""
        while self._lines:
            batch = [self._lines.popleft() for _ in range(min(_BATCH, len(self._lines)))]
            streams = self._keys.events
            try:
                await self._redis.execute_all(
                    ("XADD", streams(partition), "MAXLEN", "~", self._maxlen, "*", "e", line)
                    for partition, line in batch
                )
            except StoreUnavailable as error:
                STORE_ERRORS.labels("served_log").inc()
                SERVED_DROPPED.inc(len(batch))
                _log.warning("%d served lists were not logged: %s", len(batch), error)
