"""Which items a query finds: an inverted index in LMDB, memory-mapped and shared by all processes.

Key: a content word. Value: the places of the items whose text has it (native uint32, ascending). What an item's text
is, is the writer's choice (`workers.common.artefacts`). Two keys that are no words hold a label for each place, and the
labels' names. Without numpy, so that online processes start fast.
"""

from array import array
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from heapq import merge
from itertools import groupby, islice
from pathlib import Path
from typing import Final, Self

import lmdb
import orjson

from service.contracts.text import near_key, term_choices, terms
from service.ranking import lmdb_file

STOP_WORDS: Final = frozenset({"a", "an", "and", "for", "from", "in", "of", "on", "or", "the", "to", "with"})
_TYPE: Final = "I"
"""uint32, as `array` and `memoryview` name it."""
_LABELS: Final = b"\0labels"
_NAMES: Final = b"\0names"
_ASKED: Final = 32
"""Items that say what a query is about."""


@lru_cache(maxsize=1 << 18)
def content_words(text: str) -> frozenset[str]:
    """Return the content words of `text`, plurals folded; for CJK, pairs of neighbouring characters."""
    return frozenset(near_key(term) for term in terms(text) if term not in STOP_WORDS) - {""}


@lru_cache(maxsize=1 << 18)
def word_choices(query: str) -> tuple[tuple[str, ...], ...]:
    """Return the content words that an item which `query` finds has: of each choice one (`term_choices`)."""
    asked = (frozenset(map(near_key, {*choice} - STOP_WORDS)) - {""} for choice in term_choices(query))
    choices = {choice for choice in asked if choice}
    # What holds another choice whole asks for nothing more: the inner pairs beside the ends of a run.
    return tuple(tuple(choice) for choice in choices if not any(other < choice for other in choices))


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
    def write(path: Path, texts: Iterable[str], labels: Sequence[str] = ()) -> None:
        """Index `texts`, one an item, to the file `path`; `labels`, if any, says of each what it is."""
        places: dict[str, list[int]] = defaultdict(list)
        for place, text in enumerate(texts):
            for word in content_words(text):
                places[word].append(place)
        names = sorted(set(labels))
        codes = {name: code for code, name in enumerate(names)}
        lmdb_file.write(
            path,
            [
                (_LABELS, array(_TYPE, (codes[label] for label in labels)).tobytes()),
                (_NAMES, orjson.dumps(names)),
                *((word.encode(), array(_TYPE, found).tobytes()) for word, found in sorted(places.items())),
            ],
        )

    def finds(self, query: str, at_least: int = 1) -> bool:
        """Whether `at_least` items have all `word_choices` of `query`; never for a query without any."""
        return self.count(query, at_least) >= at_least

    def count(self, query: str, limit: int) -> int:
        """Return how many items have all `word_choices` of `query`, at most `limit`; none for a query without any."""
        with self._environment.begin(buffers=True) as transaction:
            return sum(1 for _ in islice(_found(transaction, query), limit))

    def label(self, query: str) -> str | None:
        """Return the label that most of the first items that `query` finds have; None if it finds nothing."""
        with self._environment.begin(buffers=True) as transaction:
            labels = memoryview(transaction.get(_LABELS, b"")).cast("B").cast(_TYPE)
            places = islice(_found(transaction, query), _ASKED) if labels else ()
            counts = Counter(labels[place] for place in places)
            if not counts:
                return None
            name: str = orjson.loads(transaction.get(_NAMES, b"[]"))[counts.most_common(1)[0][0]]
            return name

    def close(self) -> None:
        """Release the memory map."""
        self._environment.close()


def _found(transaction: lmdb.Transaction, query: str) -> Iterator[int]:
    """Yield the places of the items that have of each choice of `query` a word, ascending."""
    choices = [[word.encode() for word in choice] for choice in word_choices(query)]
    if not choices or any(len(word) > lmdb_file.MAX_KEY for choice in choices for word in choice):
        return
    found = [[memoryview(transaction.get(word, b"")).cast("B").cast(_TYPE) for word in choice] for choice in choices]
    rarest, *others = sorted(found, key=lambda choice: sum(map(len, choice)))
    places = (place for place, _ in groupby(merge(*rarest)))
    yield from (place for place in places if all(any(_has(word, place) for word in choice) for choice in others))


def _has(places: Sequence[int], place: int) -> bool:
    at = bisect_left(places, place)
    return at < len(places) and places[at] == place
