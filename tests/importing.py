"""A small log, a small catalogue, and their import: what the importer's tests share."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from workers.shop.importer.mapping import Mapping
from workers.shop.importer.pipeline import Report, Request, run

NOW = datetime(2026, 11, 23, tzinfo=UTC)
DAY = 86_400.0
START = NOW.timestamp() - 10 * DAY
ITEMS = [
    {"item_id": "i1", "title": "Trail tent", "category": "Outdoor > Tents", "price": 99.5, "attributes": {"b": 1}},
    {"item_id": "i2", "title": "Gas stove", "category": "Outdoor>Stoves"},
]
EVENTS = [
    {"user_id": "u2", "ts": START + 5, "type": "search", "query": "stove", "event_id": "e5"},
    {"user_id": "u1", "ts": START + 2, "type": "click", "item_id": "i1", "event_id": "e2"},
    {"user_id": "u1", "ts": START + 1, "type": "search", "query": "Tent", "event_id": "e1"},
    {"user_id": "u1", "ts": START + 5 * DAY, "type": "purchase", "item_id": "i9", "event_id": "e3", "order_id": "u1-7"},
    {"user_id": "u2", "ts": START + 6, "type": "click", "item_id": "i2", "event_id": "e1"},
]


def write(folder: Path, name: str, lines: list[dict[str, Any]]) -> Path:
    """Write JSON lines."""
    path = folder / name
    path.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    return path


def imported(folder: Path, events: Path | list[dict[str, Any]], **options: Any) -> Report:
    """Import a log with the small catalogue into `folder`/out."""
    path = events if isinstance(events, Path) else write(folder, "events.jsonl", events)
    given_ = {"items": [write(folder, "items.jsonl", ITEMS)], "mapping": Mapping(), "now": NOW} | options
    return run(Request(events=[path], out=folder / "out", **given_))


def files_of(root: Path) -> dict[str, bytes]:
    """Return the content of each file of a dataset but its manifest, which says where it came from."""
    files = {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*.parquet"))}
    assert files
    return files
