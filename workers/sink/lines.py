"""From a stream entry to a log line, and from log lines to a table in the dataset's schema."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
import pyarrow as pa

from service.contracts.events import EVENT_TYPES
from workers.common.dataset import EVENT_SCHEMA

Line = dict[str, Any]
TYPES: Final = frozenset({*EVENT_TYPES, "hint_served"})
_COLUMNS: Final = {field.name: field.type for field in EVENT_SCHEMA}
_CONTENT: Final = b"e"


class UnreadableEntry(Exception):
    """An entry holds no log line; `reason` is a bounded metric label."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def parse(fields: Mapping[bytes, bytes]) -> Line:
    """Return the log line of an entry.

    Raises:
        UnreadableEntry: there is none, or one that does not fit the columns.
    """
    if not fields:
        raise UnreadableEntry("trimmed")  # delivered, then cut off by `redis.stream_maxlen` before it was read again
    if _CONTENT not in fields:
        raise UnreadableEntry("no_content")
    try:
        line = orjson.loads(fields[_CONTENT])
    except orjson.JSONDecodeError:
        raise UnreadableEntry("not_json") from None
    if not isinstance(line, dict):
        raise UnreadableEntry("not_an_object")
    if any(line.get(name) is None for name in ("user_id", "ts", "type")):
        raise UnreadableEntry("field_missing")
    if not all(_fits(value, _COLUMNS[name]) for name, value in line.items() if name in _COLUMNS and value is not None):
        raise UnreadableEntry("field_type")
    if line["type"] not in TYPES:
        raise UnreadableEntry("type_unknown")
    return line


def identity(line: Line) -> tuple[str, str] | None:
    """Return what two copies of a line have in common, as the importer sees it; None if nothing tells them."""
    event_id = line.get("event_id")
    return None if event_id is None else (line["user_id"], event_id)


def to_table(lines: Sequence[Line]) -> pa.Table:
    """Return lines as rows of the dataset's schema; fields that it does not have are left out."""
    return pa.Table.from_arrays([_column(lines, name) for name in EVENT_SCHEMA.names], schema=EVENT_SCHEMA)


def _column(lines: Sequence[Line], name: str) -> pa.Array:
    kind = _COLUMNS[name]
    values = [line.get(name) for line in lines]
    if pa.types.is_floating(kind):  # Arrow refuses whole numbers that a float cannot hold exactly
        values = [None if value is None else float(value) for value in values]
    elif pa.types.is_list(kind) and pa.types.is_floating(kind.value_type):
        values = [None if value is None else [float(one) for one in value] for value in values]
    return pa.array(values, kind)


def _fits(value: object, kind: pa.DataType) -> bool:
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
    return isinstance(value, int | float)
