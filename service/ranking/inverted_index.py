"""Which items a query finds: an inverted index in LMDB, memory-mapped and shared by all processes.

Key: a content word. Value: the places of the items whose text has it (native uint32, ascending). What an item's text
is, is the writer's choice (`workers.common.artefacts`). Without numpy, so that online processes start fast.
"""

from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final, Self

import lmdb

from service.contracts.text import near_key, terms
from service.ranking import lmdb_file

STOP_WORDS: Final = frozenset({"a", "an", "and", "for", "from", "in", "of", "on", "or", "the", "to", "with"})
_TYPE: Final = "I"
"""uint32, as `array` and `memoryview` name it."""


@lru_cache(maxsize=1 << 18)
def content_words(text: str) -> frozenset[str]:
    """Return the content words of `text`, plurals folded; for CJK, pairs of neighbouring characters."""
    return frozenset(near_key(term) for term in terms(text) if term not in STOP_WORDS) - {""}


class InvertedIndex:
    """An open index."""

    def __init__(self, environment: lmdb.Environment) -> None:
        """Use `open`."""
        self._environment = environment

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the file that `write` made."""
        return cls(lmdb_file.read_only(path))

    @staticmethod
    def write(path: Path, texts: Iterable[str]) -> None:
        """Index `texts`, one an item, to the file `path`."""
        places: dict[str, list[int]] = defaultdict(list)
        for place, text in enumerate(texts):
            for word in content_words(text):
                places[word].append(place)
        lmdb_file.write(
            path, [(word.encode(), array(_TYPE, found).tobytes()) for word, found in sorted(places.items())]
        )

    def finds(self, query: str) -> bool:
        """Whether an item has all content words of `query`; never for a query without any."""
        words = [word.encode() for word in content_words(query)]
        if not words or any(len(word) > lmdb_file.MAX_KEY for word in words):
            return False
        with self._environment.begin(buffers=True) as transaction:
            found = [memoryview(transaction.get(word, b"")).cast("B").cast(_TYPE) for word in words]
            rarest, *others = sorted(found, key=len)
            return any(all(_has(other, place) for other in others) for place in rarest)

    def close(self) -> None:
        """Release the memory map."""
        self._environment.close()


def _has(places: Sequence[int], place: int) -> bool:
    at = bisect_left(places, place)
    return at < len(places) and places[at] == place
