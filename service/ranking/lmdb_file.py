"""One way to make and to open the LMDB files of an artefact.

https://lmdb.readthedocs.io/
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import lmdb

from service.contracts.errors import ArtefactError

MAX_KEY: Final = 511
"""Bytes that LMDB takes as a key; it takes no empty one either."""


def read_only(path: Path) -> lmdb.Environment:
    """Map a file that `write` made; all processes share its pages.

    Raises:
        ArtefactError: it is no such file, or this process has it open already.
    """
    try:
        return lmdb.open(str(path), subdir=False, readonly=True, lock=False, readahead=False)
    except lmdb.Error as error:
        raise ArtefactError(f"{path}: {error}") from None


def write(path: Path, pairs: Sequence[tuple[bytes, bytes]]) -> None:
    """Write (key, value) pairs to the file `path`, durably; a pair whose key LMDB does not take is left out."""
    size = (1 << 24) + 4 * sum(len(key) + len(value) + 64 for key, value in pairs)
    environment = lmdb.open(str(path), subdir=False, map_size=size, lock=False)
    with environment.begin(write=True) as transaction:
        for key, value in pairs:
            if 0 < len(key) <= MAX_KEY:
                transaction.put(key, value)
    environment.sync(force=True)
    environment.close()
