"""What triggers lead to by the logs alone: trigger -> queries with scores, in LMDB, looked up in microseconds."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, Self

import lmdb
import orjson

from service.contracts.codecs import ScoredQuery
from service.contracts.keys import Trigger

_MAX_KEY: Final = 511
"""Bytes that LMDB takes as a key. No list for a longer trigger."""


class TriggerTable:
    """An open table."""

    def __init__(self, environment: lmdb.Environment) -> None:
        """Use `open`."""
        self._environment = environment

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the file that `write` made."""
        return cls(lmdb.open(str(path), subdir=False, readonly=True, lock=False, readahead=False))

    @staticmethod
    def write(path: Path, rows: Iterable[tuple[Trigger, Sequence[tuple[str, float]]]]) -> None:
        """Write (trigger, its queries with scores, best first) to the file `path`."""
        pairs = [(trigger.encode(), orjson.dumps(queries)) for trigger, queries in rows]
        size = (1 << 24) + 4 * sum(len(key) + len(value) + 64 for key, value in pairs)
        environment = lmdb.open(str(path), subdir=False, map_size=size, lock=False)
        with environment.begin(write=True) as transaction:
            for key, value in pairs:
                if 0 < len(key) <= _MAX_KEY:
                    transaction.put(key, value)
        environment.sync(force=True)
        environment.close()

    def lists(self, triggers: Sequence[Trigger]) -> dict[Trigger, list[ScoredQuery]]:
        """Return the lists of the triggers that have one."""
        found: dict[Trigger, list[ScoredQuery]] = {}
        with self._environment.begin(buffers=True) as transaction:
            for trigger in triggers:
                key = trigger.encode("utf-8", "replace")
                raw = transaction.get(key) if 0 < len(key) <= _MAX_KEY else None
                if raw is not None:
                    found[trigger] = [ScoredQuery(query, score) for query, score in orjson.loads(raw)]
        return found

    def close(self) -> None:
        """Release the memory map."""
        self._environment.close()
