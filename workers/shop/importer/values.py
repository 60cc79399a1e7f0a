"""From the values of a file to text, which the checks then read by column."""

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import orjson
import polars as pl

from workers.shop.importer.mapping import Kind, TableMapping

Record = Mapping[str, Any]

_EXACT: Final = 2.0**53
"""Whole numbers up to here are themselves as floats."""


def to_frame(
    first: int,
    records: Sequence[Record],
    reasons: list[str | None],
    mapping: TableMapping,
    fields: Mapping[str, Kind],
) -> pl.DataFrame:
    """Return a frame of `line` (counted on from `first`), `reason`, and each field as text, null where absent.

    `reasons` has one entry a record, null unless it could not be read; records with a value of a wrong type get one.
    """
    columns: dict[str, pl.Series] = {"line": pl.Series(range(first, first + len(records)), dtype=pl.UInt64)}
    texts: dict[str, list[str | None]] = {}
    for field, kind in fields.items():
        if field in mapping.constants:
            texts[field] = [mapping.constants[field]] * len(records)
            continue
        parts = [_texts([record.get(source) for record in records], kind, reasons) for source in mapping.sources(field)]
        if len(parts) == 1:
            texts[field] = parts[0]
        else:
            join = mapping.separator(field).join
            texts[field] = [join(filter(None, row)) or None for row in zip(*parts, strict=True)] or [None] * len(
                records
            )
    columns["reason"] = pl.Series(reasons, dtype=pl.String)
    for field, values in texts.items():
        columns[field] = pl.Series(values, dtype=pl.String).replace("", None)
    return pl.DataFrame(columns)


def _texts(values: list[Any], kind: Kind, reasons: list[str | None]) -> list[str | None]:
    """Return values as text; where one cannot stand for `kind`, null and a reason."""
    kinds = set(map(type, values))
    if kinds <= {str, type(None)}:
        return values
    if kinds == {int}:
        return list(map(str, values))
    texts: list[str | None] = []
    for index, value in enumerate(values):
        absent = value is None or (isinstance(value, float) and math.isnan(value))  # NaN is how pandas says null
        text = None if absent else _text(value, kind)
        if text is None and not absent and reasons[index] is None:
            reasons[index] = "wrong_type"
        texts.append(text)
    return texts


def _text(value: object, kind: Kind) -> str | None:
    """Return the text of one value, None where it cannot stand for `kind`."""
    text: str | None = None
    match value:
        case str():
            text = value
        case bool():
            text = str(value).lower() if kind == "bool" else None
        case int() | Decimal():
            text = str(value)
        case float() if kind not in {"id", "text"}:
            text = str(value)
        case float() if abs(value) < _EXACT:
            # pandas turns a column of whole numbers with gaps into floats; JSON numbers of over 64 bits become floats
            # too, and two ids could become one.
            text = str(int(value)) if value.is_integer() else str(value)
        case list() | dict() if kind in {"json", "list"}:
            text = json_text(value)
    return text


def json_text(value: object) -> str | None:
    """Return a value as JSON with sorted keys, None if it is nested too deeply (orjson writes 254 levels)."""
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_SORT_KEYS).decode()
    except orjson.JSONEncodeError:
        return None
