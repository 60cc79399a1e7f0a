"""What triggers lead to by the logs alone: trigger -> queries with scores, in LMDB, looked up in microseconds."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, Self

import lmdb
import orjson

from service.contracts.keys import Trigger
from service.ranking import lmdb_file
from service.ranking.bounded import Bounded
from service.ranking.merge import Row, rank_score, rows

_CACHED: Final = 10_000
"""Triggers whose lists stay in memory, absent ones included."""


class TriggerTable:
    """An open table."""

    def __init__(self, environment: lmdb.Environment, *, by_rank: bool) -> None:
        """Use `open`."""
        self._environment = environment
        self._by_rank = by_rank
        self._cache: Bounded[Trigger, Sequence[Row]] = Bounded(_CACHED)

    @classmethod
    def open(cls, path: Path, *, by_rank: bool = False) -> Self:
        """Open the file that `write` made. `by_rank`: a query's score is that of its rank, not what is stored."""
        return cls(lmdb_file.read_only(path), by_rank=by_rank)

    @staticmethod
    def write(path: Path, lists: Iterable[tuple[Trigger, Sequence[tuple[str, float]]]]) -> None:
        """Write (trigger, its queries with scores, best first) to the file `path`."""
        lmdb_file.write(path, [(trigger.encode(), orjson.dumps(queries)) for trigger, queries in lists])

    def first(self, triggers: Sequence[Trigger]) -> tuple[Trigger, Sequence[Row]]:
        """Return the first of `triggers` that has a list, and the list, best first; none: nothing."""
        for trigger in triggers:
            known = self._cache.get(trigger)
            found = self._read(trigger) if known is None else known
            if found:
                return trigger, found
        return "", ()

    def _read(self, trigger: Trigger) -> Sequence[Row]:
        key = trigger.encode("utf-8", "replace")
        with self._environment.begin(buffers=True) as transaction:
            raw = transaction.get(key) if 0 < len(key) <= lmdb_file.MAX_KEY else None
            pairs = [] if raw is None else [(query, score) for query, score in orjson.loads(raw)]
        if self._by_rank:
            pairs = [(query, rank_score(rank)) for rank, (query, _) in enumerate(pairs)]
        return self._cache.put(trigger, rows(pairs))

    def close(self) -> None:
        """Release the memory map."""
        self._environment.close()
