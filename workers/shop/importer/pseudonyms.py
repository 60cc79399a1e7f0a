"""Shoppers' ids replaced by a keyed hash: the same shopper stays the same, and nobody without the key can tell who.

Ids of sessions, orders, requests and events go the same way, since shops often build them from the shopper's id.
"""

import hashlib
from functools import partial
from pathlib import Path
from typing import Final, Self

import polars as pl

from service.contracts.errors import ConfigError
from workers.shop.importer.checks import distinct_map

MIN_KEY_BYTES: Final = 16
_FIELDS: Final = ("user_id", "session_id", "order_id", "request_id", "event_id")
_DIGEST_BYTES: Final = 16


class Pseudonyms:
    """Keyed BLAKE2b (RFC 7693, section 2.9), 128 bits, another one for each kind of id."""

    def __init__(self, key: bytes) -> None:
        """`key` has at least `MIN_KEY_BYTES`; it appears nowhere in the dataset."""
        # BLAKE2b takes keys of up to 64 bytes; a digest of the key has that length whatever the key's.
        self._key = hashlib.blake2b(key).digest()

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Return pseudonyms under the key in a file.

        Raises:
            ConfigError: the file cannot be read, or the key is too short.
        """
        try:
            key = path.read_bytes().strip()
        except OSError as error:
            raise ConfigError(f"{path}: the key cannot be read: {error.strerror}") from None
        if len(key) < MIN_KEY_BYTES:
            raise ConfigError(f"{path}: the key has {len(key)} bytes, at least {MIN_KEY_BYTES} are needed")
        return cls(key)

    @property
    def key_id(self) -> str:
        """What tells two keys apart, and says nothing of them."""
        return self._digest("key_id", "")[:8]

    def apply(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return `frame` with the ids that it has replaced."""
        there = [name for name in _FIELDS if name in frame.columns]
        return frame.with_columns(distinct_map(frame[name], partial(self._digest, name)).alias(name) for name in there)

    def _digest(self, kind: str, text: str) -> str:
        found = hashlib.blake2b(text.encode(), key=self._key, person=kind.encode(), digest_size=_DIGEST_BYTES)
        return found.hexdigest()
