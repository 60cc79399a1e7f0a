"""What tables share: ids, texts, numbers and times, checked by column; Python sees only what is not plain ASCII."""

from collections.abc import Callable
from typing import Final

import polars as pl
from pydantic import TypeAdapter, ValidationError

from service.contracts.events import Identifier
from service.contracts.text import MAX_ID_CHARS, clean
from workers.shop.importer.mapping import EPOCH_UNITS, TimeFormat

EPOCH_LIMIT: Final = 253402300800.0
"""Seconds; year 10000, as in service.contracts.events."""

_PLAIN_ID: Final = r"^[!-~](?:[ -~]*[!-~])?$"
_PLAIN_TEXT: Final = r"^[!-~]+(?: [!-~]+)*$"
_IDENTIFIER: Final[TypeAdapter[str]] = TypeAdapter(Identifier)

Check = tuple[pl.Expr, str]
"""(where a line is wrong, the reason)."""


def first_reason(*checks: Check) -> pl.Expr:
    """Return the reason that a line has already, else that of the first check that finds it wrong."""
    found = [pl.when(wrong).then(pl.lit(reason)) for wrong, reason in checks]
    return pl.coalesce(pl.col("reason"), *found).alias("reason")


def distinct_map(series: pl.Series, function: Callable[[str], str]) -> pl.Series:
    """Return `function` of each text; called once for each distinct one."""
    distinct = series.drop_nulls().unique()
    changed = pl.Series([function(text) for text in distinct], dtype=pl.String)
    return series.replace_strict(distinct, changed, return_dtype=pl.String) if len(distinct) else series


def cleaned(series: pl.Series) -> pl.Series:
    """Return texts as `service.contracts.text.clean` has them; what was only unsafe characters becomes empty."""
    odd = series.filter(~series.str.contains(_PLAIN_TEXT)).drop_nulls().unique()
    if odd.is_empty():
        return series
    return series.replace(odd, pl.Series([clean(text) for text in odd], dtype=pl.String))


def bad_ids(series: pl.Series) -> pl.Series:
    """Return where an id is not as the contract wants it (true, false; false for null)."""
    bytes_ = series.str.len_bytes()
    plain = (series.str.contains(_PLAIN_ID) & (bytes_ <= MAX_ID_CHARS)).fill_null(value=True)
    unsure = series.filter(~plain).unique()
    wrong = [text for text in unsure if not _is_id(text)]
    return (series.is_in(wrong) if wrong else pl.repeat(value=False, n=len(series), eager=True)).fill_null(value=False)


def _is_id(text: str) -> bool:
    try:
        _IDENTIFIER.validate_python(text)
    except ValidationError:
        return False
    return True


def number(field: str, low: float, high: float, *, whole: bool) -> tuple[pl.Expr, Check]:
    """Return a number's expression, and the check that it lies in [low, high] and is whole if it must be."""
    value = pl.col(field).cast(pl.Float64, strict=False)
    sound = value.is_finite() & value.is_between(low, high)
    if whole:
        sound &= value == value.floor()
    wrong = pl.col(field).is_not_null() & ~sound.fill_null(value=False)
    return pl.when(~wrong).then(value), (wrong, f"{field}_invalid")


def epoch_seconds(time: TimeFormat) -> pl.Expr:
    """Return `ts` in epoch seconds (float), null where it is no time."""
    text = pl.col("ts").str.strip_chars()
    seconds = text.cast(pl.Float64, strict=False)
    if time.format in EPOCH_UNITS:
        value = seconds / EPOCH_UNITS[time.format]
    elif time.format == "auto":
        value = pl.coalesce(seconds, _rfc3339(text, time.zone))
    else:
        value = _moment(text, time.format, time.zone, offset="%z" in time.format or "%:z" in time.format)
    return pl.when(value.is_finite() & (value >= 0) & (value < EPOCH_LIMIT)).then(value)


def _rfc3339(text: pl.Expr, zone: str) -> pl.Expr:
    """Return epoch seconds of RFC 3339, also with a space for the T, without seconds, offset, or time."""
    full = (
        text.str.replace(r"[Zz]$", "+00:00")
        .str.replace(r"^(\d{4}-\d{2}-\d{2})[ t]", "${1}T")
        .str.replace(r"^(\d{4}-\d{2}-\d{2})$", "${1}T00:00:00")
        .str.replace(r"(T\d{2}:\d{2})($|[+-])", "${1}:00${2}")
    )
    form = "%Y-%m-%dT%H:%M:%S%.f"
    return pl.coalesce(_moment(full, f"{form}%z", zone, offset=True), _moment(full, form, zone, offset=False))


def _moment(text: pl.Expr, form: str, zone: str, *, offset: bool) -> pl.Expr:
    if offset:
        moment = text.str.to_datetime(form, time_unit="us", time_zone="UTC", strict=False)
    else:
        # A local time that a clock change skips is no time; one that it repeats is the first.
        local = text.str.to_datetime(form, time_unit="us", strict=False)
        moment = local.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    return moment.dt.epoch("us") / 1e6
