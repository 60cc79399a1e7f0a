"""Write the sample shop's logs as a dataset: shopper by shopper, so memory does not grow with their number."""

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from service.contracts.errors import ArtefactError
from workers.common.dataset import EVENTS, ITEMS, PROFILES, SCHEMA_VERSION
from workers.shop import catalogue as catalogues
from workers.shop.sessions import timeline
from workers.shop.shoppers import new_shopper

END = datetime(2026, 11, 1, tzinfo=UTC).timestamp()
_PART_EVENTS = 200_000
_DAY = 86400.0


def generate(out: Path, shoppers: int, days: int, seed: int, progress: Callable[[int], None]) -> dict[str, Any]:
    """Write a dataset to `out`; return its manifest. The same arguments give the same files.

    Raises:
        ArtefactError: `out` exists already.
    """
    if out.exists():
        raise ArtefactError(f"{out}: exists already; remove it or name another directory")
    staging = out.with_name(f".{out.name}.staging")
    shutil.rmtree(staging, ignore_errors=True)
    (staging / "events").mkdir(parents=True)
    try:
        manifest = _write(staging, shoppers, days, seed, progress)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    staging.rename(out)
    return manifest


def _write(folder: Path, shoppers: int, days: int, seed: int, progress: Callable[[int], None]) -> dict[str, Any]:
    catalogue = catalogues.load()
    start = END - days * _DAY
    month = datetime.fromtimestamp(END - days * _DAY / 2, UTC).month
    events: list[dict[str, Any]] = []
    profiles: list[dict[str, Any]] = []
    total = parts = 0
    for number in range(shoppers):
        rng = np.random.default_rng((seed, number))
        shopper = new_shopper(number, catalogue, start, END, month, rng)
        profiles.append(
            {
                "user_id": shopper.user_id, "segment": shopper.segment, "budget": shopper.budget,
                "region": shopper.region, "locale": shopper.locale, "consent": True,
            }  # fmt: skip
        )
        for index, event in enumerate(timeline(shopper, catalogue, start, END, rng)):
            events.append({"user_id": shopper.user_id, "event_id": f"{seed}-{shopper.user_id}-{index}", **event})
        if len(events) >= _PART_EVENTS:
            total, parts = total + len(events), parts + 1
            _flush(folder, parts, events)
        progress(1)
    total, parts = total + len(events), parts + 1
    _flush(folder, parts, events)
    pq.write_table(pa.Table.from_pylist(profiles, PROFILES), folder / "profiles.parquet")
    pq.write_table(pa.Table.from_pylist(_items(catalogue), ITEMS), folder / "items.parquet")
    manifest = {
        "schema": SCHEMA_VERSION, "source": "sample shop", "shop": catalogue.digest, "seed": seed,
        "shoppers": shoppers, "days": days, "events": total, "start": start, "end": END,
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return manifest


def _flush(folder: Path, part: int, events: list[dict[str, Any]]) -> None:
    pq.write_table(pa.Table.from_pylist(events, EVENTS), folder / "events" / f"part-{part:05d}.parquet")
    events.clear()


def _items(catalogue: catalogues.Catalogue) -> list[dict[str, Any]]:
    return [
        {
            "item_id": item.item_id, "title": item.title, "category": item.category.path, "brand": item.brand,
            "price": item.price, "seller_id": item.seller_id,
            "attributes": json.dumps(dict(item.attributes), ensure_ascii=False),
        }  # fmt: skip
        for items in catalogue.items.values()
        for item in items
    ]
