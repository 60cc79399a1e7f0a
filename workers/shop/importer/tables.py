"""The catalogue and the shoppers' profiles: small enough for memory; of lines with the same id the last one counts."""

from collections.abc import Mapping, Sequence
from typing import Final

import orjson
import polars as pl

from workers.shop.importer.checks import bad_ids, cleaned, distinct_map, first_reason, number
from workers.shop.importer.values import json_text

ITEM_SCHEMA: Final = {
    "item_id": pl.String(),
    "title": pl.String(),
    "category": pl.String(),
    "brand": pl.String(),
    "price": pl.Float64(),
    "seller_id": pl.String(),
    "attributes": pl.String(),
}
PROFILE_SCHEMA: Final = {
    "user_id": pl.String(),
    "segment": pl.String(),
    "budget": pl.String(),
    "region": pl.String(),
    "locale": pl.String(),
    "consent": pl.Boolean(),
}
_CONSENT: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def check_items(frame: pl.DataFrame) -> pl.DataFrame:
    """Return `frame` with `reason` filled in and fields in the dataset's types."""
    price, wrong_price = number("price", 0, float("inf"), whole=False)
    maps = distinct_map(frame["attributes"], _json_map)
    frame = frame.with_columns(
        cleaned(frame["title"]).alias("clean_title"),
        distinct_map(cleaned(frame["category"]), _path).replace("", None).alias("category"),
        cleaned(frame["brand"]).replace("", None).alias("brand"),
        maps.alias("attributes"),
        bad_ids(frame["item_id"]).alias("bad_item_id"),
        bad_ids(frame["seller_id"]).alias("bad_seller_id"),
    )
    checks = (
        (pl.col("item_id").is_null(), "item_id_missing"),
        (pl.col("bad_item_id"), "item_id_invalid"),
        (pl.col("title").is_null(), "title_missing"),
        (pl.col("clean_title") == "", "title_empty"),
        (pl.col("bad_seller_id"), "seller_id_invalid"),
        wrong_price,
        (pl.col("attributes") == "", "attributes_invalid"),
    )
    return frame.with_columns(first_reason(*checks), price.alias("price"), pl.col("clean_title").alias("title"))


def check_profiles(frame: pl.DataFrame) -> pl.DataFrame:
    """Return `frame` with `reason` filled in and fields in the dataset's types."""
    texts = [name for name, kind in PROFILE_SCHEMA.items() if kind == pl.String() and name != "user_id"]
    consent = pl.col("consent").str.to_lowercase().replace_strict(_CONSENT, default=None, return_dtype=pl.Boolean)
    checks = (
        (pl.col("user_id").is_null(), "user_id_missing"),
        (pl.col("bad_user_id"), "user_id_invalid"),
        # Consent that cannot be read must not be taken for consent.
        (pl.col("consent").is_not_null() & consent.is_null(), "consent_invalid"),
    )
    return frame.with_columns(
        *(cleaned(frame[name]).replace("", None).alias(name) for name in texts),
        bad_ids(frame["user_id"]).alias("bad_user_id"),
    ).with_columns(first_reason(*checks), consent.alias("consent"))


def last_of_each(frames: Sequence[pl.DataFrame], schema: Mapping[str, pl.DataType]) -> tuple[pl.DataFrame, int]:
    """Return the sound lines of all chunks sorted by id, each id's last one, and the number of those dropped."""
    none = pl.DataFrame(schema=dict(schema))
    everything = pl.concat([none, *(frame.select(list(schema)) for frame in frames)])
    key = next(iter(schema))
    kept = everything.unique(subset=[key], keep="last", maintain_order=True).sort(key)
    return kept, everything.height - kept.height


def _path(text: str) -> str:
    """Return a category path as the contract writes it: levels that say something, joined with " > "."""
    return " > ".join(level for part in text.split(">") if (level := part.strip()))


def _json_map(text: str) -> str:
    """Return a JSON map in its shortest form, empty if the text is none, or nested too deeply."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return ""
    return (json_text(value) or "") if isinstance(value, dict) else ""
