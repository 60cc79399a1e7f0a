"""Build the catalogue artefact from a dataset: items and popular queries, published atomically under a new version.

The reader is `service.ranking.catalogue`.
"""

import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from service.contracts.errors import ArtefactError
from service.contracts.text import normalise
from service.ranking import lmdb_file
from service.ranking.calibration import Calibration
from service.ranking.catalogue import (
    CALIBRATION,
    CO_CLICK,
    CONSUMABLE,
    CURRENT,
    ITEMS,
    MANIFEST,
    POPULAR,
    SAMPLE,
    SCHEMA,
    TEXT,
    WORDS,
    Catalogue,
    Item,
    digest,
    encode_item,
    verified,
)
from service.ranking.inverted_index import InvertedIndex
from service.ranking.model_folder import drop_abandoned
from service.ranking.popular_queries import PopularQueries
from service.ranking.trigger_table import TriggerTable
from workers.common.co_click import co_click
from workers.common.consumable import consumable
from workers.common.dataset import PROFILES, read_profiles
from workers.common.item_text import FILE, MIN_SHOPPERS, read_written, surrogates, texts
from workers.common.popular import popular
from workers.common.similar import similar

_KEPT_VERSIONS = 2
_STAGING = "staging"


def build(
    dataset: Path,
    root: Path,
    sample: Mapping[str, Any] | None = None,
    calibrate: Callable[[Catalogue], Calibration] | None = None,
) -> str:
    """Build an artefact from `dataset` (items, events, profiles), make it current, return its version.

    Words that a model wrote for items (`aigq item-text build`) are taken from `root`, if they are there. `calibrate`
    weighs the sources of what was built; if it fails, nothing is published.

    Raises:
        ArtefactError: the dataset lacks items or searches.
    """
    items = read_items(dataset)
    if items.is_empty():
        raise ArtefactError(f"{dataset / 'items.parquet'}: has no items")
    searches = _searches(dataset)
    favourites = _popular(dataset, searches)
    root.mkdir(parents=True, exist_ok=True)
    staging = root / f".{_STAGING}-{uuid.uuid4().hex}"
    staging.mkdir()
    try:
        behaviour = read_behaviour(dataset)
        _write_items(staging / ITEMS, items, surrogates(behaviour, items, read_written(root / FILE)))
        InvertedIndex.write(staging / WORDS, texts(items, behaviour), items["category"].fill_null("").to_list())
        (staging / POPULAR).write_bytes(orjson.dumps(favourites.as_json()))
        (staging / CONSUMABLE).write_bytes(orjson.dumps(consumable(behaviour, items)))
        pairs = co_click(behaviour, items)
        TriggerTable.write(staging / CO_CLICK, _lists(pairs))
        TriggerTable.write(staging / TEXT, similar(items, searches, set(pairs["trigger"])))
        names = [ITEMS, WORDS, CO_CLICK, TEXT, POPULAR, CONSUMABLE]
        if sample:
            (staging / SAMPLE).write_bytes(orjson.dumps(dict(sample)))
            names.append(SAMPLE)
        if calibrate is not None:
            with closing(Catalogue.unchecked(staging)) as catalogue:
                found = calibrate(catalogue)
            (staging / CALIBRATION).write_bytes(orjson.dumps(found.as_json()))
            names.append(CALIBRATION)
        files = {name: {"bytes": (staging / name).stat().st_size, "blake2b": digest(staging / name)} for name in names}
        manifest = orjson.dumps({"schema": SCHEMA, "items": items.height, "files": files}, option=orjson.OPT_INDENT_2)
        (staging / MANIFEST).write_bytes(manifest)
        version = f"{_next_number(root):05d}-{digest(staging / MANIFEST)[:8]}"
        staging.rename(root / version)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    _point(root, version)
    _drop_old(root)
    return version


def _existing(path: Path) -> Path:
    if not path.exists():
        raise ArtefactError(f"{path}: missing; a dataset comes from: aigq shop generate, or aigq import")
    return path


def read_items(dataset: Path) -> pl.DataFrame:
    """Return the catalogue by id; a missing title is empty, columns that a shop may leave out are null."""
    items = pl.read_parquet(_existing(dataset / "items.parquet")).sort("item_id")
    absent = {"category": pl.String, "brand": pl.String, "price": pl.Float64}.items() - items.schema.items()
    missing = [pl.lit(None, kind).alias(name) for name, kind in absent if name not in items.columns]
    return items.with_columns(pl.col("title").fill_null(""), *missing)


def _searches(dataset: Path) -> pl.DataFrame:
    """Return each (user_id, query, hour) once: the query normalised, the hour since the epoch."""
    _existing(dataset / "events")
    return (
        pl.scan_parquet(dataset / "events" / "*.parquet")
        .filter(pl.col("type") == "search")
        .select(
            "user_id",
            pl.col("query").map_elements(normalise, return_dtype=pl.String),
            (pl.col("ts") // 3600).cast(pl.Int64).alias("hour"),
        )
        .unique()
        .collect()
    )


def read_behaviour(dataset: Path) -> pl.DataFrame:
    """Return what shoppers searched, opened, carted and bought, in their order, queries normalised."""
    return (
        pl.scan_parquet(dataset / "events" / "*.parquet")
        .filter(pl.col("type").is_in(["search", "hint_click", "click", "cart", "purchase"]))
        .select("user_id", "ts", "type", "query", "item_id")
        .sort("user_id", "ts", maintain_order=True)
        .with_columns(pl.col("query").map_elements(normalise, return_dtype=pl.String))
        .collect()
    )


def _lists(pairs: pl.DataFrame) -> Iterator[tuple[str, list[tuple[str, float]]]]:
    for (trigger,), group in pairs.group_by("trigger", maintain_order=True):
        yield str(trigger), list(group.select("query", "score").iter_rows())


def _popular(dataset: Path, searches: pl.DataFrame) -> PopularQueries:
    found = popular(searches, read_profiles(dataset) if (dataset / PROFILES).exists() else None)
    if found is None:
        raise ArtefactError(f"{dataset}: no query was searched by {MIN_SHOPPERS} shoppers or more")
    return found


def _write_items(path: Path, items: pl.DataFrame, words: Mapping[str, str]) -> None:
    pairs: list[tuple[bytes, bytes]] = []
    for item_id, title, category, price in items.select("item_id", "title", "category", "price").iter_rows():
        if not 0 < len(item_id.encode()) <= lmdb_file.MAX_KEY:
            raise ArtefactError(f"item id {item_id[:40]!r} has no or over {lmdb_file.MAX_KEY} bytes")
        pairs.append((item_id.encode(), encode_item(Item(item_id, title, category or "", price, words[item_id]))))
    lmdb_file.write(path, pairs)


def _versions(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and path.name[:5].isdigit())


def _next_number(root: Path) -> int:
    versions = _versions(root)
    return int(versions[-1].name[:5]) + 1 if versions else 1


def _point(root: Path, version: str) -> None:
    pointer = root / f".{CURRENT}-{uuid.uuid4().hex}"
    pointer.write_text(version + "\n", encoding="utf-8")
    pointer.replace(root / CURRENT)


def _drop_old(root: Path) -> None:
    """Remove what is older than the last whole versions. A broken one among these stays: it may just be copied here."""
    versions = _versions(root)
    whole = list(islice(filter(_is_whole, reversed(versions)), _KEPT_VERSIONS))
    for path in versions[: versions.index(whole[-1])]:
        shutil.rmtree(path)
    drop_abandoned(root / _STAGING)


def _is_whole(version: Path) -> bool:
    try:
        verified(version)
    except ArtefactError:
        return False
    return True
