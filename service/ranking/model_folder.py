"""A directory that holds a learned ranker: `meta.json` names its other files with their sizes and digests.

Under its final name it is complete: it is written beside it and moved. What was cut short or altered is refused.
"""

import re
import shutil
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from service.contracts.errors import ArtefactError
from service.ranking.catalogue import digest

META: Final = "meta.json"
_ABANDONED_S: Final = 86_400.0


def check_room(folder: Path, needed: int) -> None:
    """Make sure that a disk has `needed` bytes for `folder`, before work of minutes or hours ends in a full disk.

    Raises:
        ArtefactError: it has not.
    """
    there = next(parent for parent in folder.absolute().parents if parent.exists())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise ArtefactError(
            f"{folder}: needs {needed / 1e6:.0f} MB, and {free / 1e6:.0f} MB are free on that disk; "
            "make room, or write elsewhere"
        )


def write(folder: Path, meta: Mapping[str, Any], files: Mapping[str, bytes], extra: Mapping[str, bytes]) -> None:
    """Write `folder`, over what may be there; `extra` files (plots) are not checked later.

    Raises:
        ArtefactError: the disk has no room for it.
    """
    check_room(folder, sum(map(len, (*files.values(), *extra.values()))))
    staging = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")
    old = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}.old")
    staging.mkdir(parents=True)
    try:
        for name, content in {**files, **extra}.items():
            (staging / name).write_bytes(content)
        known = {name: {"bytes": len(content), "blake2b": digest(staging / name)} for name, content in files.items()}
        described = orjson.dumps({**meta, "files": known}, option=orjson.OPT_INDENT_2)
        (staging / META).write_bytes(described + b"\n")
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    if folder.exists():
        folder.rename(old)
    staging.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
    drop_abandoned(folder)


def drop_abandoned(final: Path) -> None:
    """Remove what kills left of writes of `final`, beside it: `.NAME-<uuid>` in which nothing changed for a day."""
    left = re.compile(rf"\.{re.escape(final.name)}-[0-9a-f]{{32}}([.-]old)?")
    for path in final.parent.iterdir():
        if left.fullmatch(path.name) and time.time() - _changed(path) > _ABANDONED_S:
            shutil.rmtree(path, ignore_errors=True)


def _changed(folder: Path) -> float:
    """Return when something in `folder` last changed (epoch s); who has just removed it has changed it."""
    try:
        return max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))
    except FileNotFoundError:
        return time.time()


def read(folder: Path, names: Sequence[str], fix: str) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the meta data and the files `names` of `folder`; `fix` says what to do if they are no good.

    Raises:
        ArtefactError: a file is missing, cut short or altered.
    """
    path = folder / META
    try:
        meta = orjson.loads(path.read_bytes())
    except OSError:
        raise ArtefactError(f"{path}: missing; {fix}") from None
    except orjson.JSONDecodeError:
        raise ArtefactError(f"{path}: is not JSON (half copied?); {fix}") from None
    try:
        files = meta.pop("files")
        expected = {name: (files[name]["bytes"], files[name]["blake2b"]) for name in names}
    except (AttributeError, KeyError, TypeError):
        raise ArtefactError(f"{path}: is not the description of such a ranker; {fix}") from None
    return meta, {name: _verified(folder / name, *known, fix) for name, known in expected.items()}


def _verified(path: Path, size: int, expected: str, fix: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError:
        raise ArtefactError(f"{path}: missing; {fix}") from None
    if len(content) != size:
        raise ArtefactError(f"{path}: has {len(content)} bytes, {META} says {size} (half copied?); {fix}")
    if digest(path) != expected:
        raise ArtefactError(f"{path}: does not match the digest in {META} (altered?); {fix}")
    return content
