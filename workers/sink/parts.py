"""Finished parts on disk: Parquet files that appear whole, each with the stream offsets that it commits.

`OUT/dt=YYYY-MM-DD/part-00000001.parquet`, the day of writing (UTC). A part's footer holds, for every partition, the
last stream id that this part or an earlier one contains. So one rename makes rows and offsets durable together, and the
newest part says where to go on. Old parts may be moved away, the newest must stay.
"""

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from service.contracts.errors import ArtefactError
from workers.common.dataset import EVENT_SCHEMA

REJECTS: Final = "rejects.jsonl"
_OFFSETS: Final = b"aigq.offsets"
_STAGING: Final = ".part"
_FIELDS: Final = tuple(EVENT_SCHEMA.names)
_TYPES: Final = {field.name: field.type for field in EVENT_SCHEMA}
_EXACT: Final = 1 << 53
"""Larger whole numbers are not exact as a float, and Arrow refuses them."""
Offsets = dict[int, str]
"""Partition -> id of its last entry that is in a finished part."""


class PartStore:
    """The parts under a directory. One writer at a time."""

    def __init__(self, root: Path) -> None:
        """Open the directory, made if need be; what a killed writer left half-written is removed.

        Raises:
            ArtefactError: it cannot be written, or its newest part was not written by a sink.
        """
        self._root = root
        try:
            root.mkdir(parents=True, exist_ok=True)
            for half in root.glob(f"dt=*/{_STAGING}-*"):
                half.unlink()
        except OSError as error:
            raise ArtefactError(f"{root}: cannot be written ({error.strerror}); name another directory") from None
        found = self._parts()
        self._next = int(found[-1].stem.removeprefix("part-")) + 1 if found else 1
        self.offsets: Offsets = _read_offsets(found[-1]) if found else {}

    def write(self, rows: Sequence[Mapping[str, Any]], offsets: Offsets) -> int:
        """Write a part with `rows` that commits `offsets`, durably; return its bytes.

        Raises:
            OSError: the disk is full, or the directory is gone; nothing is committed.
        """
        table = pa.Table.from_pylist([{name: row.get(name) for name in _FIELDS} for row in rows], EVENT_SCHEMA)
        committed = self.offsets | offsets
        described = {str(partition): last for partition, last in sorted(committed.items())}
        folder = self._root / f"dt={datetime.now(UTC):%Y-%m-%d}"
        folder.mkdir(parents=True, exist_ok=True)
        staging = folder / f"{_STAGING}-{self._next:08d}.parquet"
        try:
            pq.write_table(table.replace_schema_metadata({_OFFSETS: orjson.dumps(described)}), staging)
            _sync(staging)
            size = staging.stat().st_size
            staging.rename(folder / f"part-{self._next:08d}.parquet")
            _sync(folder)
        except BaseException:
            staging.unlink(missing_ok=True)
            raise
        self._next += 1
        self.offsets = committed
        return size

    def reject(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Append entries that cannot be read to `rejects.jsonl`, durably."""
        with (self._root / REJECTS).open("ab") as file:
            file.write(b"".join(orjson.dumps(line) + b"\n" for line in lines))
            file.flush()
            os.fsync(file.fileno())

    def latest_event_ids(self, limit: int) -> list[tuple[str, str]]:
        """Return (user_id, event_id) of the newest `limit` lines or more, oldest first."""
        tables: list[pa.Table] = []
        for path in reversed(self._parts()):
            if sum(table.num_rows for table in tables) >= limit:
                break
            tables.insert(0, pq.read_table(path, columns=["user_id", "event_id"]))
        pairs = [pair for table in tables for pair in zip(*table.to_pydict().values(), strict=True)]
        return [(user_id, event_id) for user_id, event_id in pairs if event_id is not None]

    def _parts(self) -> list[Path]:
        return sorted(self._root.glob("dt=*/part-*.parquet"), key=lambda path: path.name)


def problem(row: Any) -> str | None:
    """Return why an entry's content is not a log line, as a bounded label; None if it is one."""
    if not isinstance(row, dict):
        return "not_an_object"
    if not all(row.get(name) is not None for name in ("user_id", "ts", "type")):
        return "field_missing"
    fits = all(_fits(value, _TYPES[name]) for name, value in row.items() if name in _TYPES and value is not None)
    return None if fits else "field_type"


def _fits(value: Any, kind: pa.DataType) -> bool:
    """Whether a JSON value fits a column; Arrow itself would take "tent" for a list of letters."""
    if pa.types.is_list(kind):
        return isinstance(value, list) and all(_fits(one, kind.value_type) for one in value)
    if pa.types.is_string(kind):
        return isinstance(value, str)
    if isinstance(value, bool):
        return False
    if pa.types.is_integer(kind):
        limit: int = 1 << (kind.bit_width - 1)
        return isinstance(value, int) and -limit <= value < limit
    return isinstance(value, float) or (isinstance(value, int) and abs(value) <= _EXACT)


def _read_offsets(path: Path) -> Offsets:
    try:
        raw = (pq.read_schema(path).metadata or {})[_OFFSETS]
        return {int(partition): str(last) for partition, last in orjson.loads(raw).items()}
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise ArtefactError(
            f"{path}: is not a part of a sink ({type(error).__name__}), so it is unknown what was written; "
            "name another directory, or restore the file"
        ) from None


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
