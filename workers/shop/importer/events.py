"""Checks of the log: a sound line is what `POST /v1/events` would take, or a `hint_served` line.

A field that a type does not have is dropped: a click's `query` would otherwise pass for a search.
"""

from typing import Any, Final

import orjson
import polars as pl

from service.contracts.text import MAX_QUERY_CHARS, clean
from workers.shop.importer.checks import Check, bad_ids, cleaned, epoch_seconds, first_reason, number
from workers.shop.importer.mapping import IGNORE, SERVED, TYPES, EventsMapping
from workers.shop.importer.tally import IGNORED

ITEM_TYPES: Final = ("click", "cart", "purchase")
_HINT_TYPES: Final = ("hint_exposure", "hint_click")
_OWNERS: Final = {
    "query": ("search", *_HINT_TYPES),
    "item_id": ITEM_TYPES,
    "request_id": (*_HINT_TYPES, SERVED),
    "position": _HINT_TYPES,
    "price": ITEM_TYPES,
    "quantity": ITEM_TYPES,
    "order_id": ITEM_TYPES,
    "queries": (SERVED,),
    "sources": (SERVED,),
    "scores": (SERVED,),
    "propensity": (SERVED,),
    "arm": (SERVED,),
    "policy": (SERVED,),
    "epsilon": (SERVED,),
    "m": (SERVED,),
}
"""field -> the types that have it; a field that is not here belongs to all."""
_REQUIRED: Final = ("query", "item_id", "request_id", "position", "queries")
_IDS: Final = ("user_id", "item_id", "request_id", "event_id", "session_id", "order_id", "arm", "policy")
_NUMBERS: Final = {  # low, high, whole
    "position": (0, 99, True),
    "price": (0, float("inf"), False),
    "quantity": (1, 1_000_000, True),
    "epsilon": (0, 1, False),
    "m": (0, 2**31 - 1, True),
}
_LISTS: Final[dict[str, type]] = {"queries": str, "sources": str, "scores": float, "propensity": float}
SCHEMA: Final = {
    "user_id": pl.String(),
    "ts": pl.Float64(),
    "type": pl.String(),
    "query": pl.String(),
    "item_id": pl.String(),
    "request_id": pl.String(),
    "position": pl.Int16(),
    "event_id": pl.String(),
    "session_id": pl.String(),
    "price": pl.Float64(),
    "quantity": pl.Int32(),
    "order_id": pl.String(),
    "queries": pl.List(pl.String()),
    "sources": pl.List(pl.String()),
    "scores": pl.List(pl.Float64()),
    "propensity": pl.List(pl.Float64()),
    "arm": pl.String(),
    "policy": pl.String(),
    "epsilon": pl.Float64(),
    "m": pl.Int32(),
}
"""The dataset's columns, in order."""


def check_events(frame: pl.DataFrame, mapping: EventsMapping, latest: float) -> pl.DataFrame:
    """Return `frame` with `reason` filled in and fields in the dataset's types; only lines without reason are sound.

    `latest` (epoch seconds) is the last moment that is not the future.
    """
    frame = _typed(frame, mapping)
    frame = frame.with_columns(
        pl.when(pl.col("type").is_in(types)).then(pl.col(field)) for field, types in _OWNERS.items()
    )
    raw_chars = pl.col("query").str.len_chars()
    frame = frame.with_columns(first_reason((raw_chars > 4 * MAX_QUERY_CHARS, "query_too_long")))
    frame = frame.with_columns(
        cleaned(frame["query"]).alias("query"),
        epoch_seconds(mapping.time).alias("seconds"),
        *(bad_ids(frame[field]).alias(f"bad_{field}") for field in _IDS),
    )
    checks: list[Check] = [
        (pl.col("user_id").is_null(), "user_id_missing"),
        (pl.col("ts").is_null(), "ts_missing"),
        (pl.col("seconds").is_null(), "ts_invalid"),
        (pl.col("seconds") > latest, "ts_future"),
    ]
    checks += [
        (pl.col("type").is_in(_OWNERS[field]) & pl.col(field).is_null(), f"{field}_missing") for field in _REQUIRED
    ]
    checks += [(pl.col(f"bad_{field}"), f"{field}_invalid") for field in _IDS]
    checks += [
        (pl.col("query") == "", "query_empty"),
        (pl.col("query").str.len_chars() > MAX_QUERY_CHARS, "query_too_long"),
    ]
    values = []
    for field, (low, high, whole) in _NUMBERS.items():
        value, check = number(field, low, high, whole=whole)
        values.append(value.cast(SCHEMA[field]).alias(field))
        checks.append(check)
    frame = frame.with_columns(first_reason(*checks), pl.col("seconds").alias("ts"), *values)
    return _served(frame)


def _typed(frame: pl.DataFrame, mapping: EventsMapping) -> pl.DataFrame:
    names = {name: name for name in TYPES} | mapping.types
    known = pl.col("type").replace_strict(names, default=None, return_dtype=pl.String)
    checks = (
        (known == IGNORE, IGNORED),
        (pl.col("type").is_null(), "type_missing"),
        (known.is_null(), "type_unknown"),
    )
    return frame.with_columns(first_reason(*checks), known.alias("type"))


def _served(frame: pl.DataFrame) -> pl.DataFrame:
    """Read the lists of `hint_served` lines; few lines have them, so row by row."""
    rows = frame.select(pl.col("reason").is_null() & (pl.col("type") == SERVED)).to_series().fill_null(value=False)
    reasons = frame["reason"].to_list() if rows.any() else []
    lists: dict[str, list[list[Any] | None]] = {field: [None] * frame.height for field in _LISTS}
    for index in rows.arg_true():
        found = _slots({field: frame[field][index] for field in _LISTS})
        if found is None:
            reasons[index] = "served_invalid"
            continue
        for field, values in found.items():
            lists[field][index] = values
    columns = [pl.Series(field, values, dtype=SCHEMA[field]) for field, values in lists.items()]
    return frame.with_columns(*columns, *([pl.Series("reason", reasons, dtype=pl.String)] if reasons else []))


def _slots(texts: dict[str, str | None]) -> dict[str, list[Any] | None] | None:
    """Return the lists of a `hint_served` line, None if they do not have one sound entry a slot."""
    found: dict[str, list[Any] | None] = {}
    slots: int | None = None
    for field, kind in _LISTS.items():
        text = texts[field]
        if text is None:
            found[field] = None
            continue
        try:
            values = orjson.loads(text)
        except orjson.JSONDecodeError:
            return None
        if not isinstance(values, list):
            return None
        if kind is str:
            sound = all(isinstance(value, str) and 0 < len(clean(value)) <= MAX_QUERY_CHARS for value in values)
        else:
            sound = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        slots = len(values) if slots is None else slots
        if not sound or len(values) != slots:
            return None
        found[field] = [clean(value) if kind is str else float(value) for value in values]
    return found
