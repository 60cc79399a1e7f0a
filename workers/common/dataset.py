"""The layout of a dataset directory, shared by the shop, the importer, artefacts and training.

`manifest.json`, `events/part-*.parquet` (a shopper's events wholly in one part, in time order), `items.parquet`,
`profiles.parquet`. Fields as in the log contract (DESIGN section 3).
"""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from service.contracts.errors import ArtefactError

SCHEMA_VERSION = 1
EVENTS = pa.schema(
    [
        ("user_id", pa.string()),
        ("ts", pa.float64()),
        ("type", pa.string()),
        ("query", pa.string()),
        ("item_id", pa.string()),
        ("request_id", pa.string()),
        ("position", pa.int32()),
        ("event_id", pa.string()),
        ("session_id", pa.string()),
        ("price", pa.float64()),
        ("quantity", pa.int32()),
        ("order_id", pa.string()),
    ]
)
ITEMS = pa.schema(
    [
        ("item_id", pa.string()),
        ("title", pa.string()),
        ("category", pa.string()),
        ("brand", pa.string()),
        ("price", pa.float64()),
        ("seller_id", pa.string()),
        ("attributes", pa.string()),
    ]
)
PROFILES = pa.schema(
    [
        ("user_id", pa.string()),
        ("segment", pa.string()),
        ("budget", pa.string()),
        ("region", pa.string()),
        ("locale", pa.string()),
        ("consent", pa.bool_()),
    ]
)


def read_manifest(dataset: Path) -> dict[str, Any]:
    """Return a dataset's manifest.

    Raises:
        ArtefactError: there is no finished dataset, or one of another schema.
    """
    path = dataset / "manifest.json"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ArtefactError(f"{path}: no dataset there; make one with: aigq shop generate --out {dataset}") from None
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA_VERSION:
        raise ArtefactError(f"{path}: is not of schema {SCHEMA_VERSION}; generate the dataset anew")
    return manifest
