"""Which items a query's words match: for the in-catalogue rate and the categories that suggestions reach."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial, reduce

import numpy as np
from numpy.typing import NDArray

from service.ranking.inverted_index import content_words, word_choices
from workers.evaluation.cases import Item


class WordIndex:
    """An inverted index over the items' titles, categories and brands."""

    def __init__(self, items: Mapping[str, Item], min_items: int = 1) -> None:
        """A query is in the catalogue if its content words (`word_choices`) occur together in `min_items` or more."""
        self._min_items = min_items
        found: dict[str, list[int]] = defaultdict(list)
        self._categories: Sequence[str] = [item.category for item in items.values()]
        for place, item in enumerate(items.values()):
            for word in content_words(f"{item.title} {item.category} {item.brand}"):
                found[word].append(place)
        self._items: Mapping[str, NDArray[np.int32]] = {
            word: np.array(places, dtype=np.int32) for word, places in found.items()
        }
        self._matches: dict[str, NDArray[np.int32]] = {}

    @property
    def categories(self) -> frozenset[str]:
        """The categories that have items."""
        return frozenset(self._categories) - {""}

    def matches(self, query: str) -> NDArray[np.int32]:
        """Return the places of the items that have all `word_choices` of `query`; none for a query without any."""
        if query not in self._matches:
            self._matches[query] = self._find(word_choices(query))
        return self._matches[query]

    def in_catalogue(self, query: str) -> bool:
        """Whether the content words of `query` occur together in enough items."""
        return len(self.matches(query)) >= self._min_items

    def category(self, query: str) -> str | None:
        """Return the most frequent category of the items that match, or None."""
        counts = Counter(self._categories[place] for place in self.matches(query))
        del counts[""]
        return min(counts, key=lambda name: (-counts[name], name)) if counts else None

    def coverage(self, lists: Sequence[Sequence[str]]) -> float:
        """Return the share of the catalogue's categories that the suggested queries lead to."""
        reached = {self.category(query) for one in lists for query in one} - {None}
        return len(reached) / max(1, len(self.categories))

    def share(self, lists: Sequence[Sequence[str]]) -> float:
        """Return the share of suggested queries that are in the catalogue; NaN without any."""
        found = [self.in_catalogue(query) for one in lists for query in one]
        return sum(found) / len(found) if found else float("nan")

    def _find(self, choices: Iterable[Iterable[str]]) -> NDArray[np.int32]:
        nothing = np.empty(0, dtype=np.int32)
        found = [reduce(np.union1d, (self._items.get(word, nothing) for word in choice)) for choice in choices]
        postings = sorted(found, key=len)
        if not postings or not len(postings[0]):
            return nothing
        return reduce(partial(np.intersect1d, assume_unique=True), postings)
