"""Facts of queries and items in arrays, so that a request's features are a few array operations.

Bounded: when it is full it starts anew. Not for use by several threads at once.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.contracts.text import terms
from service.ranking.catalogue import Item
from service.ranking.query_stats import (
    MAX_CATEGORIES,
    MAX_TERMS,
    NUMBERS,
    Floats,
    Ints,
    QueryFacts,
    QueryStats,
    Weighted,
    stable_hash,
)

CAPACITY: Final = 1 << 15
"""Queries and items together; about 400 bytes each."""
_CJK: Final = NUMBERS.index("cjk")
_FOCUS: Final = NUMBERS.index("category_focus")
Matrix = NDArray[np.float64]


class Rows(NamedTuple):
    """The facts of some queries, one a row; see `QueryFacts`. `places` are their row numbers in the cache.

    Terms and categories come transposed, since the next steps sum over them, and without columns that are all padding.
    """

    places: Ints
    terms: Ints
    rarity: Floats
    categories: Ints
    weights: Floats
    keys: Ints
    near: Ints
    numbers: Floats
    brands: Ints
    price_tiers: Floats
    department: Ints
    cjk: Floats


class FactCache:
    """Facts by row; `rows` fills it."""

    def __init__(self, stats: QueryStats, capacity: int = CAPACITY) -> None:
        self.stats = stats
        self._capacity = capacity
        values = sum(map(len, stats.profile.values()))
        self.keys = np.zeros(capacity, dtype=np.int64)
        self.near = np.zeros(capacity, dtype=np.int64)
        self._terms = np.zeros((capacity, MAX_TERMS), dtype=np.int64)
        self._rarity = np.zeros((capacity, MAX_TERMS), dtype=np.float32)
        self._categories = np.zeros((capacity, MAX_CATEGORIES), dtype=np.int64)
        self._weights = np.zeros((capacity, MAX_CATEGORIES), dtype=np.float32)
        self._lengths = np.zeros(capacity, dtype=np.int64)
        self.lifts = np.zeros((capacity, values + 1), dtype=np.float32)
        self._numbers = np.zeros((capacity, len(NUMBERS)), dtype=np.float32)
        self.brands = np.zeros(capacity, dtype=np.int64)
        self.price_tiers = np.zeros(capacity, dtype=np.float32)
        self.department = np.zeros(capacity, dtype=np.int64)
        self.cjk = np.zeros(capacity, dtype=np.float32)
        self.texts = [""] * capacity
        self._known: dict[str | Item, int] = {}

    def rows(self, queries: Sequence[str], asked: Sequence[str], items: Sequence[Item]) -> tuple[Rows, Ints, Ints]:
        """Return the facts of `queries`, and the row numbers of `asked` queries and of `items`.

        Raises:
            ValueError: all together are more than the capacity.
        """
        wanted: list[str | Item] = [*queries, *asked, *items]
        try:
            known = [self._known[one] for one in wanted]
        except KeyError:
            self._learn(wanted)
            known = [self._known[one] for one in wanted]
        numbers = np.array(known, dtype=np.int64)
        own, others = numbers[: len(queries)], numbers[len(queries) :]
        return self._gather(own), others[: len(asked)], others[len(asked) :]

    def _learn(self, wanted: Sequence[str | Item]) -> None:
        """Take in what is not known yet, all of it anew if there is no room."""
        if len(wanted) > self._capacity:
            raise ValueError(f"{len(wanted)} queries and items at once, at most {self._capacity} fit")
        missing = dict.fromkeys(one for one in wanted if one not in self._known)
        if len(self._known) + len(missing) > self._capacity:
            self._known.clear()
            missing = dict.fromkeys(wanted)
        for one in missing:
            self._fill(len(self._known), one)
            self._known[one] = len(self._known)

    def _fill(self, row: int, one: str | Item) -> None:
        facts = self.stats.describe(one) if isinstance(one, str) else self._describe_item(one)
        self.texts[row] = facts.text
        self.keys[row], self.near[row], self.brands[row] = facts.key, facts.near, facts.brand
        self._terms[row], self._rarity[row] = facts.terms, facts.rarity
        self._lengths[row] = np.count_nonzero(facts.terms)
        self._categories[row], self._weights[row] = facts.categories, facts.weights
        self.lifts[row], self._numbers[row], self.price_tiers[row] = facts.lifts, facts.numbers, facts.price_tier
        self.department[row] = self.stats.department[facts.categories[0]] if facts.numbers[_FOCUS] > 0 else -1
        self.cjk[row] = facts.numbers[_CJK]

    def _describe_item(self, item: Item) -> QueryFacts:
        """Return an item as if it were a query, with the category that the catalogue says."""
        number = self.stats.category_number.get(item.category, -1)
        words = sorted(terms(item.title))
        tier = np.nan
        if item.price is not None and item.price > 0 and number >= 0:
            tier = float(np.log(item.price)) - self.stats.category_price[number]
        numbers = np.zeros(len(NUMBERS), dtype=np.float32)
        numbers[_FOCUS] = number >= 0
        categories, weights = np.zeros(MAX_CATEGORIES, dtype=np.int64), np.zeros(MAX_CATEGORIES, dtype=np.float32)
        categories[0], weights[0] = max(0, number), number >= 0
        hashes = np.zeros(MAX_TERMS, dtype=np.int64)
        kept = [stable_hash(word) for word in words[:MAX_TERMS]]
        hashes[: len(kept)] = kept
        return QueryFacts(
            text="",
            key=0,
            near=0,
            terms=hashes,
            rarity=np.zeros(MAX_TERMS, dtype=np.float32),
            categories=categories,
            weights=weights,
            lifts=np.full(self.lifts.shape[1], np.nan, dtype=np.float32),
            numbers=numbers,
            brand=self.stats.brand(set(words)),
            price_tier=tier,
        )

    def _gather(self, rows: Ints) -> Rows:
        longest = self._lengths[rows].max(initial=0)
        padded: tuple[NDArray[Any], ...] = (
            self._terms[:, :longest], self._rarity[:, :longest], self._categories, self._weights,
        )  # fmt: skip
        plain: tuple[NDArray[Any], ...] = (
            self.keys, self.near, self._numbers, self.brands, self.price_tiers, self.department, self.cjk,
        )  # fmt: skip
        return Rows(rows, *(array[rows].T for array in padded), *(array.take(rows, axis=0) for array in plain))

    def overlap(self, history: Ints, rows: Rows) -> tuple[Matrix, Matrix]:
        """Return, by (action, query), the share of the query's words that the action's text holds, and the reverse.

        The first is weighted by rarity, so that a common word in common says little.
        """
        lengths = self._lengths[history]
        said = self._terms[history, : lengths.max(initial=0)].T
        # (words of the action, words of the query, actions, queries); what is padding for both is no word
        inside = (said[:, None, :, None] == rows.terms[:, None]).any(axis=0) & (rows.terms != 0)[:, None]
        shared: Matrix = (inside * rows.rarity[:, None]).sum(axis=0, dtype=np.float64)
        kept: Matrix = inside.sum(axis=0, dtype=np.float64)
        total = np.maximum(self._rarity[rows.places].sum(axis=1), 1e-6)
        return shared / total, kept / np.maximum(lengths, 1)[:, None]

    def common_categories(self, history: Ints, rows: Rows) -> Matrix:
        """Return, by (action, query), the chance that both mean the same category."""
        mine = np.zeros((len(history), max(1, len(self.stats.categories))), dtype=np.float32)
        # Backwards, since a category may have the number of the padding, which comes after it.
        for slot in reversed(range(MAX_CATEGORIES)):
            mine[np.arange(len(history)), self._categories[history, slot]] = self._weights[history, slot]
        both = mine[:, rows.categories] * rows.weights  # (actions, MAX_CATEGORIES, queries)
        found: Matrix = both.sum(axis=1, dtype=np.float64)
        return found

    def follow(self, after: Sequence[Weighted], items: Ints, decay: Matrix, rows: Rows) -> Matrix:
        """Return by query how much oftener than usual its categories are searched after those of `items`."""
        lifts = np.zeros(max(1, len(self.stats.categories)))
        for row, weight in zip(items.tolist(), decay.tolist(), strict=True):
            if self._weights[row, 0] > 0:
                for number, lift in after[int(self._categories[row, 0])]:
                    lifts[number] += weight * lift
        found: Matrix = (lifts[rows.categories] * rows.weights).sum(axis=0)
        return found
