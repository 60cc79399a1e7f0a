"""Events on disk in buckets of shoppers, so that each bucket can be sorted by itself and memory stays bounded.

Polars alone: a sort by shopper needs no more than this hash partition, and duckdb would be one more dependency.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Self

import polars as pl
import pyarrow as pa

from workers.common.dataset import EVENT_SCHEMA

BUCKETS: Final = 64
"""10 million lines make buckets of some 160,000; as many files are open at a time."""


class Spill:
    """Takes events in any order and gives them back bucket by bucket; a shopper is wholly in one bucket."""

    def __init__(self, folder: Path) -> None:
        """`folder` is there, and the caller's to remove."""
        self._folder = folder
        self._writers: dict[int, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    def add(self, events: pl.DataFrame) -> None:
        """Append events to the buckets of their shoppers."""
        users = events["user_id"].unique()
        buckets = pl.Series([_bucket(user) for user in users], dtype=pl.UInt8)
        numbered = events.with_columns(pl.col("user_id").replace_strict(users, buckets, default=0).alias("bucket"))
        for (bucket,), rows in numbered.partition_by("bucket", as_dict=True, include_key=False).items():
            if bucket not in self._writers:
                options = pa.ipc.IpcWriteOptions(compression="lz4")
                self._writers[bucket] = pa.ipc.new_stream(self._path(bucket), EVENT_SCHEMA, options=options)
            self._writers[bucket].write_table(to_arrow(rows))

    def buckets(self) -> Iterator[pl.DataFrame]:
        """Yield the events of each bucket in the order in which they came; nothing can be added any more."""
        filled = sorted(self._writers)
        self.__exit__()
        for bucket in filled:
            path = self._path(bucket)
            with pa.ipc.open_stream(path.read_bytes()) as stream:
                yield pl.DataFrame(pl.from_arrow(stream.read_all()))
            path.unlink()

    def _path(self, bucket: int) -> Path:
        return self._folder / f"bucket-{bucket:02d}.arrows"


def to_arrow(events: pl.DataFrame) -> pa.Table:
    """Return events in the dataset's schema."""
    return events.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(EVENT_SCHEMA)


def _bucket(user_id: str) -> int:
    """Return a shopper's bucket, the same on every machine and in every version."""
    return hashlib.blake2b(user_id.encode(), digest_size=1, person=b"import").digest()[0] % BUCKETS
