"""The layout of a dataset directory, shared by the shop, the importer, training and the demo.

```
DIR/manifest.json            schema version, counts, where it came from, time range
DIR/events/part-00000.parquet  sorted by (user_id, ts) within a shopper; a shopper is wholly in one part
DIR/items.parquet
DIR/profiles.parquet
DIR/truth/*                  only the sample shop: what a simulator knows and training must never read
```
A dataset appears under its final name only when it is complete.
"""

import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

import orjson
import polars as pl
import polars.selectors as cs
import pyarrow as pa
import pyarrow.parquet as pq

from service.contracts.errors import ArtefactError
from service.ranking.catalogue import digest
from service.ranking.model_folder import drop_abandoned

SCHEMA_VERSION: Final = 1
MANIFEST: Final = "manifest.json"
EVENTS: Final = "events"
ITEMS: Final = "items.parquet"
PROFILES: Final = "profiles.parquet"
TRUTH: Final = "truth"

EVENT_SCHEMA: Final = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("ts", pa.float64(), nullable=False),  # epoch seconds
        pa.field("type", pa.string(), nullable=False),
        pa.field("query", pa.string()),
        pa.field("item_id", pa.string()),
        pa.field("request_id", pa.string()),
        pa.field("position", pa.int16()),  # 0-based
        pa.field("event_id", pa.string()),
        pa.field("session_id", pa.string()),
        pa.field("price", pa.float64()),
        pa.field("quantity", pa.int32()),
        pa.field("order_id", pa.string()),
        # hint_served only; lists have one entry a slot
        pa.field("queries", pa.list_(pa.string())),
        pa.field("sources", pa.list_(pa.string())),
        pa.field("scores", pa.list_(pa.float64())),
        pa.field("propensity", pa.list_(pa.float64())),
        pa.field("arm", pa.string()),
        pa.field("policy", pa.string()),
        pa.field("epsilon", pa.float64()),
        pa.field("m", pa.int32()),  # eligible queries of the explored slot
    ]
)
ITEM_SCHEMA: Final = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("title", pa.string(), nullable=False),
        pa.field("category", pa.string()),  # "A > B > C"
        pa.field("brand", pa.string()),
        pa.field("price", pa.float64()),
        pa.field("seller_id", pa.string()),
        pa.field("attributes", pa.string()),  # a JSON map
    ]
)
PROFILE_SCHEMA: Final = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("segment", pa.string()),
        pa.field("budget", pa.string()),
        pa.field("region", pa.string()),
        pa.field("locale", pa.string()),
        pa.field("consent", pa.bool_()),
    ]
)

_MADE_BY = "a dataset comes from: aigq shop generate, or aigq import"


class Dataset:
    """A complete dataset on disk, opened for reading.

    Raises:
        ArtefactError: a file is missing, broken or of another schema version; the message names it and the fix.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        path = root / MANIFEST
        if not path.exists():
            raise ArtefactError(f"{path}: missing; {_MADE_BY}")
        try:
            self.manifest: dict[str, Any] = orjson.loads(path.read_bytes())
        except orjson.JSONDecodeError as error:
            raise ArtefactError(f"{path}: not JSON ({error}); make the dataset again") from error
        found = self.manifest.get("schema") if isinstance(self.manifest, dict) else None
        if found != SCHEMA_VERSION:
            raise ArtefactError(
                f"{path}: schema version {found!r}, this release reads {SCHEMA_VERSION}; make the dataset again"
            )
        for name in (ITEMS, PROFILES):
            if not (root / name).exists():
                raise ArtefactError(f"{root / name}: missing; {_MADE_BY}")
        self.parts = sorted((root / EVENTS).glob("part-*.parquet"))
        if not self.parts:
            raise ArtefactError(f"{root / EVENTS}: has no part-*.parquet; {_MADE_BY}")

    def provenance(self) -> dict[str, Any]:
        """Return the manifest and its digest, by which what was learned names its dataset."""
        return {"manifest_blake2b": digest(self.root / MANIFEST), **self.manifest}

    def scan_events(self) -> pl.LazyFrame:
        """Return all events lazily, in part order, so shopper by shopper."""
        return pl.scan_parquet(self.parts)

    def items(self) -> pl.DataFrame:
        """Return the catalogue."""
        return pl.read_parquet(self.root / ITEMS)

    def profiles(self) -> pl.DataFrame:
        """Return `read_profiles`."""
        return read_profiles(self.root)

    def profile_texts(self) -> dict[str, dict[str, str]]:
        """Return each shopper's text fields that say something, by user id: what prompts and rankers are told."""
        return {
            row.pop("user_id"): {name: value for name, value in row.items() if isinstance(value, str)}
            for row in self.profiles().iter_rows(named=True)
        }

    def shoppers(self, columns: Sequence[str] | None = None) -> Iterator[tuple[str, pl.DataFrame]]:
        """Yield (user id, events in time order) shopper by shopper; holds one row group and one shopper.

        `columns` limits what is read; user_id is always there.
        """
        wanted = None if columns is None else list(dict.fromkeys(["user_id", *columns]))
        for path in self.parts:
            open_user = ""
            held: list[pl.DataFrame] = []
            with pq.ParquetFile(path) as file:
                for group in range(file.num_row_groups):
                    frame = pl.DataFrame(pl.from_arrow(file.read_row_group(group, columns=wanted)))
                    for (user_id,), rows in frame.group_by("user_id", maintain_order=True):
                        if user_id != open_user and held:
                            yield open_user, pl.concat(held)
                            held = []
                        open_user = str(user_id)
                        held.append(rows)
            if held:
                yield open_user, pl.concat(held)


def read_profiles(root: Path) -> pl.DataFrame:
    """Return the profiles of the dataset at `root`. A field that is empty says nothing: it is null."""
    return pl.read_parquet(root / PROFILES).with_columns(cs.string().exclude("user_id").replace("", None))


class DatasetWriter:
    """Writes a dataset beside its final name and renames it when complete; as a context manager, cleans up on error.

    The caller writes tables in order; row groups are exactly the tables written, so equal calls give equal bytes.
    """

    def __init__(self, root: Path, *, overwrite: bool = False) -> None:
        if root.exists() and not overwrite:
            raise ArtefactError(f"{root}: exists already; choose another directory, or overwrite it on purpose")
        if root.exists() and any(root.iterdir()) and not (root / MANIFEST).exists():
            raise ArtefactError(f"{root}: is not a dataset (no {MANIFEST}), so it is not overwritten")
        self.root = root
        self._staging = root.with_name(f".{root.name}-{uuid.uuid4().hex}")
        self._writers: dict[str, pq.ParquetWriter] = {}
        self.events = 0

    def __enter__(self) -> Self:
        (self._staging / EVENTS).mkdir(parents=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()
        shutil.rmtree(self._staging, ignore_errors=True)

    def write(self, name: str, table: pa.Table) -> None:
        """Append `table` to the file `name` (a path inside the dataset) as one row group; empty tables make the file.

        Raises:
            pa.ArrowInvalid: the table's schema is not that of the tables before it.
        """
        if name not in self._writers:
            path = self._staging / name
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writers[name] = pq.ParquetWriter(path, table.schema, compression="zstd")
        self._writers[name].write_table(table, row_group_size=max(1, table.num_rows))

    def write_events(self, part: int, table: pa.Table) -> None:
        """Append events to the part numbered `part`; moving on to another part closes the ones before it."""
        name = f"{EVENTS}/part-{part:05d}.parquet"
        for other in [open_ for open_ in self._writers if open_.startswith(f"{EVENTS}/") and open_ != name]:
            self._writers.pop(other).close()
        self.events += table.num_rows
        self.write(name, table.cast(EVENT_SCHEMA))

    def close(self, manifest: Mapping[str, Any]) -> Path:
        """Write the manifest (`schema` and the event count are added) and give the dataset its name."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()
        content = {"schema": SCHEMA_VERSION, "events": self.events, **manifest}
        (self._staging / MANIFEST).write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n")
        # At no moment is a half-deleted dataset under the name.
        old = self._staging.with_name(f"{self._staging.name}-old")
        if self.root.exists():
            self.root.rename(old)
        self._staging.rename(self.root)
        shutil.rmtree(old, ignore_errors=True)
        drop_abandoned(self.root)
        return self.root
