"""What triggers lead to by the logs alone: trigger -> queries with scores, in LMDB, looked up in microseconds."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

import lmdb
import orjson

from service.contracts.keys import Trigger
from service.ranking import lmdb_file


class TriggerTable:
    """An open table."""

    def __init__(self, environment: lmdb.Environment) -> None:
        """Use `open`."""
        self._environment = environment

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the file that `write` made."""
        return cls(lmdb_file.read_only(path))

    @staticmethod
    def write(path: Path, rows: Iterable[tuple[Trigger, Sequence[tuple[str, float]]]]) -> None:
        """Write (trigger, its queries with scores, best first) to the file `path`."""
        lmdb_file.write(path, [(trigger.encode(), orjson.dumps(queries)) for trigger, queries in rows])

    def lists(self, triggers: Sequence[Trigger]) -> dict[Trigger, list[tuple[str, float]]]:
        """Return the (query, score) lists of the triggers that have one, best first."""
        found: dict[Trigger, list[tuple[str, float]]] = {}
        with self._environment.begin(buffers=True) as transaction:
            for trigger in triggers:
                key = trigger.encode("utf-8", "replace")
                raw = transaction.get(key) if 0 < len(key) <= lmdb_file.MAX_KEY else None
                if raw is not None:
                    found[trigger] = orjson.loads(raw)
        return found

    def close(self) -> None:
        """Release the memory map."""
        self._environment.close()
