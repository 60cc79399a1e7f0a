"""Finished parts on disk: Parquet files that appear whole, each with the stream offsets that it commits.

`OUT/dt=YYYY-MM-DD/part-00000001.parquet`, the day of writing (UTC). A part's footer holds, for every stream, the last
entry that this part or an earlier one contains. So one rename makes rows and offsets durable together, and the newest
part says where to go on. Old parts may be moved away, the newest must stay.
"""

import fcntl
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from service.contracts.errors import ArtefactError, ConfigError
from workers.sink.lines import Line, to_table

REJECTS: Final = "rejects.jsonl"
_LOCK: Final = ".lock"
_OFFSETS: Final = b"aigq.offsets"
_STAGING: Final = ".staging"
Offsets = dict[str, str]
"""Stream -> id of its last entry that is in a finished part."""


class PartStore:
    """The parts under a directory, for one writer; as a context manager, lets the next one in."""

    def __init__(self, root: Path) -> None:
        """Lock the directory, made if need be; what a killed writer left half-written is removed.

        The lock is the kernel's: it ends with the process, however that ends, and not before. So a writer that was
        only asleep cannot wake up beside its successor.

        Raises:
            ConfigError: another process writes there.
            ArtefactError: it cannot be written, or its newest part was not written by a sink.
        """
        self._root = root
        try:
            root.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(root / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise ArtefactError(f"{root}: cannot be written ({reason(error)}); name another directory") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for half in root.glob(f"dt=*/{_STAGING}-*"):
                half.unlink()
            found = self._parts()
            self._next = int(found[-1].stem.removeprefix("part-")) + 1 if found else 1
            self.offsets: Offsets = _read_offsets(found[-1]) if found else {}
        except BlockingIOError:
            self.close()
            raise ConfigError(f"another sink writes to {root}: stop it first") from None
        except OSError as error:
            self.close()
            raise ArtefactError(f"{root}: cannot be written ({reason(error)}); name another directory") from None
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Unlock the directory."""
        os.close(self._lock)

    def write(self, lines: Sequence[Line], offsets: Offsets) -> int:
        """Write a part with `lines` that commits `offsets`, durably; return its bytes.

        Raises:
            OSError: the disk is full, or the directory is gone; nothing is committed.
        """
        committed = self.offsets | offsets
        footer = {_OFFSETS: orjson.dumps(committed, option=orjson.OPT_SORT_KEYS)}
        folder = self._root / f"dt={datetime.now(UTC):%Y-%m-%d}"
        staging = folder / f"{_STAGING}-{self._next:08d}"
        part = folder / f"part-{self._next:08d}.parquet"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _sync(self._root)
            with staging.open("wb") as file:
                pq.write_table(to_table(lines).replace_schema_metadata(footer), file, compression="zstd")
                file.flush()
                os.fsync(file.fileno())
                size = file.tell()
            staging.rename(part)
            _sync(folder)
        except BaseException:
            staging.unlink(missing_ok=True)
            part.unlink(missing_ok=True)  # these lines will be written again
            raise
        self._next += 1
        self.offsets = committed
        return size

    def reject(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Append entries that cannot be read to `rejects.jsonl`, durably.

        Raises:
            OSError: the disk is full, or the directory is gone.
        """
        with (self._root / REJECTS).open("ab") as file:
            file.write(b"".join(orjson.dumps(line) + b"\n" for line in lines))
            file.flush()
            os.fsync(file.fileno())

    def forget(self, streams: Sequence[str]) -> None:
        """Let go of the offsets of streams that begin anew."""
        self.offsets = {stream: last for stream, last in self.offsets.items() if stream not in streams}

    def latest(self, limit: int) -> list[tuple[str, str]]:
        """Return (user_id, event_id) of at least the newest `limit` lines, oldest first; lines without are left out."""
        tables: list[pa.Table] = []
        rows = 0
        for path in reversed(self._parts()):
            if rows >= limit:
                break
            tables.append(pq.read_table(path, columns=["user_id", "event_id"]))
            rows += tables[-1].num_rows
        return [
            (user_id, event_id)
            for table in reversed(tables)
            for user_id, event_id in zip(*table.to_pydict().values(), strict=True)
            if event_id is not None
        ]

    def _parts(self) -> list[Path]:
        return sorted(self._root.glob("dt=*/part-*.parquet"), key=lambda path: path.name)


def reason(error: OSError) -> str:
    """Return what went wrong, without the path."""
    return error.strerror or str(error)


def _read_offsets(path: Path) -> Offsets:
    try:
        raw = (pq.read_schema(path).metadata or {})[_OFFSETS]
        return {str(stream): str(last) for stream, last in orjson.loads(raw).items()}
    except (pa.ArrowException, OSError, KeyError, ValueError, AttributeError) as error:
        raise ArtefactError(
            f"{path}: is not a part of a sink ({type(error).__name__}), so it is unknown what was written; "
            "name another directory, or restore the file"
        ) from None


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
