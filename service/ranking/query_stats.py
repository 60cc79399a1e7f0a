"""What is known of queries: a table made at training time, and the same facts for any other query from its words.

A query that nobody searched gets facts by the same function as a known one, only with no counts of its own: counts are
smoothed towards what its words and its categories say. No fact says which query it is.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from typing import Any, Final, NamedTuple, Self

import numpy as np
import orjson
from numpy.typing import NDArray

from service.contracts.text import has_cjk, near_key, normalise, terms

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Weighted = Sequence[tuple[int, float]]
"""(category number, weight) pairs."""

MAX_TERMS: Final = 24
MAX_CATEGORIES: Final = 4
NUMBERS: Final = (
    "popularity",  # log(1 + shoppers in 10,000 who searched it)
    "category_popularity",  # the same of its categories
    "word_count",
    "char_count",
    "cjk",  # 1 if Chinese, Japanese or Korean
    "rarest_word",  # inverse document frequency
    "mean_word_rarity",
    "category_focus",  # weight of its first category: how sure we are what it asks for
    "names_brand",
    "typical_price",  # mean log price in its categories
)
"""Facts that do not depend on the shopper; they are features as they are."""
_WORDS_COUNT: Final = 5.0
"""What a query's words say of its categories weighs like so many shoppers' clicks."""
_CATEGORY_COUNT: Final = 20.0
"""What a query's categories say of its shoppers' profiles weighs like so many shoppers."""
_TYPICAL_SHARE: Final = 1e4


class QueryRow(NamedTuple):
    """Counts of one query: shoppers who searched it, clicks by category, shoppers by profile value."""

    shoppers: int
    clicks: Weighted
    profile: Sequence[int]
    price_tier: float | None
    """Mean of log price minus the category's mean log price, over clicked items."""


class QueryFacts(NamedTuple):
    """One query in numbers; arrays are padded with zeros to `MAX_TERMS` and `MAX_CATEGORIES`."""

    text: str
    key: int
    """Equal for equal queries; never a feature."""
    near: int
    """Equal for near-duplicates (plural, word order)."""
    terms: Ints
    rarity: Floats
    """Inverse document frequency by term."""
    categories: Ints
    weights: Floats
    """By category; they sum to 1, or to 0 where nothing is known."""
    lifts: Floats
    """By profile value: log of how much oftener its shoppers have it than all shoppers. The last is NaN: unknown."""
    numbers: Floats
    brand: int
    """Number of the brand that it names, or -1."""
    price_tier: float


@dataclass(frozen=True)
class QueryStats:
    """The table, as `ctr` training writes it. Lists that speak of categories or profile values are by number."""

    shoppers: int
    categories: Sequence[str]
    category_shoppers: Sequence[int]
    category_profile: Sequence[Sequence[int]]
    category_price: Sequence[float]
    profile: Mapping[str, Sequence[str]]
    profile_shoppers: Sequence[int]
    queries: Mapping[str, QueryRow]
    terms: Mapping[str, tuple[float, Weighted]]
    brands: Sequence[str]
    after_seen: Sequence[Weighted]
    """By category: what is searched in the week after an item of it was looked at; weights are log lifts."""
    after_bought: Sequence[Weighted]
    unknown_rarity: float = 0.0

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Return the table that `dump` wrote.

        Raises:
            ValueError: it is not one.
        """
        try:
            value = orjson.loads(raw)
            value["queries"] = {query: QueryRow(*row) for query, row in value["queries"].items()}
            return cls(**value)
        except (orjson.JSONDecodeError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"not a table of query statistics ({error})") from error

    def dump(self) -> bytes:
        """Return the table as JSON; equal tables give equal bytes."""
        return orjson.dumps({one.name: getattr(self, one.name) for one in fields(self)}, default=list)

    @cached_property
    def category_number(self) -> Mapping[str, int]:
        """Category path -> number."""
        return {category: number for number, category in enumerate(self.categories)}

    @cached_property
    def department(self) -> Ints:
        """By category: the number of its first level."""
        names = [category.split(">", 1)[0].strip() for category in self.categories]
        known = {name: number for number, name in enumerate(dict.fromkeys(names))}
        return np.array([known[name] for name in names] or [0], dtype=np.int64)

    @cached_property
    def value_number(self) -> Mapping[tuple[str, str], int]:
        """(profile field, value) -> number."""
        pairs = [(name, value) for name, values in self.profile.items() for value in values]
        return {pair: number for number, pair in enumerate(pairs)}

    @cached_property
    def _brand_terms(self) -> Mapping[str, Sequence[tuple[frozenset[str], int]]]:
        """One term of a brand -> brands that hold it, longest first."""
        found: dict[str, list[tuple[frozenset[str], int]]] = {}
        for number, brand in enumerate(self.brands):
            words = frozenset(terms(brand))
            if words:
                found.setdefault(min(words), []).append((words, number))
        return {first: sorted(some, key=lambda one: (-len(one[0]), one[1])) for first, some in found.items()}

    @cached_property
    def _shares(self) -> NDArray[np.float64]:
        """By profile value: the share of shoppers who have it."""
        return (np.array(self.profile_shoppers, dtype=np.float64) + 1.0) / (self.shoppers + 2.0)

    @cached_property
    def _category_shares(self) -> NDArray[np.float64]:
        """(category, profile value): the share of a category's searchers who have the value, smoothed."""
        counts = np.array(self.category_profile, dtype=np.float64).reshape(len(self.categories), len(self._shares))
        total = np.array(self.category_shoppers, dtype=np.float64)[:, None]
        shares: NDArray[np.float64] = (counts + _CATEGORY_COUNT * self._shares) / (total + _CATEGORY_COUNT)
        return shares

    def brand(self, words: set[str]) -> int:
        """Return the number of the brand that `words` name (the one of most words), or -1."""
        found = [one for word in words for one in self._brand_terms.get(word, ()) if one[0] <= words]
        return min(found, key=lambda one: (-len(one[0]), one[1]))[1] if found else -1

    def describe(self, query: str) -> QueryFacts:
        """Return the facts of any query."""
        text = normalise(query)
        words = sorted(terms(text))[:MAX_TERMS]
        row = self.queries.get(text) or _NOBODY
        rarity = [self.terms[word][0] if word in self.terms else self.unknown_rarity for word in words]
        ranked = self._categories(words, row)
        numbers = np.array([number for number, _ in ranked] or [0], dtype=np.int64)
        weights = np.array([weight for _, weight in ranked] or [0.0], dtype=np.float64)
        brand = self.brand(set(words))
        lifts = np.full(len(self._shares) + 1, np.nan, dtype=np.float32)
        lifts[:-1] = self._lifts(row, numbers, weights)
        searched_in = sum(weight * self.category_shoppers[number] for number, weight in ranked)
        price = sum(weight * self.category_price[number] for number, weight in ranked)
        facts = (
            self._frequency(row.shoppers),
            self._frequency(searched_in) if ranked else math.nan,
            len(text.split()),
            len(text),
            has_cjk(text),
            max(rarity, default=0.0),
            sum(rarity) / max(1, len(rarity)),
            weights[0],
            brand >= 0,
            price if ranked else math.nan,
        )
        return QueryFacts(
            text=text,
            key=stable_hash(text),
            near=stable_hash(near_key(text)),
            terms=_padded([stable_hash(word) for word in words], MAX_TERMS, np.int64),
            rarity=_padded(rarity, MAX_TERMS, np.float32),
            categories=_padded(numbers, MAX_CATEGORIES, np.int64),
            weights=_padded(weights, MAX_CATEGORIES, np.float32),
            lifts=lifts,
            numbers=np.array(facts, dtype=np.float32),
            brand=brand,
            price_tier=math.nan if row.price_tier is None else row.price_tier,
        )

    def _frequency(self, shoppers: float) -> float:
        return math.log1p(_TYPICAL_SHARE * shoppers / max(1, self.shoppers))

    def _categories(self, words: Sequence[str], row: QueryRow) -> list[tuple[int, float]]:
        """Return the likeliest categories with weights that sum to 1; none where nothing is known."""
        said: dict[int, float] = {}
        for word in words:
            _, shares = self.terms.get(word, (0.0, ()))
            purity = sum(share * share for _, share in shares)  # "tent" says more than "waterproof"
            for number, share in shares:
                said[number] = said.get(number, 0.0) + purity * share
        total = sum(said.values())
        scores = {number: _WORDS_COUNT * score / total for number, score in said.items()} if total else {}
        for number, clicks in row.clicks:
            scores[number] = scores.get(number, 0.0) + clicks
        best = sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))[:MAX_CATEGORIES]
        kept = sum(score for _, score in best)
        return [(number, score / kept) for number, score in best] if kept else []

    def _lifts(self, row: QueryRow, numbers: Ints, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        expected = self._shares
        if weights[0] > 0:
            expected = (weights[:, None] * self._category_shares[numbers]).sum(axis=0)
        shares = expected
        if row.shoppers:
            shares = (np.array(row.profile) + _CATEGORY_COUNT * expected) / (row.shoppers + _CATEGORY_COUNT)
        lifts: NDArray[np.float64] = np.log(shares / self._shares)
        return lifts


_NOBODY: Final = QueryRow(0, (), (), None)


@lru_cache(maxsize=1 << 17)
def stable_hash(text: str) -> int:
    """Return a signed 64-bit hash that is the same in every process; never 0, which is padding."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True) or 1


def _padded(values: Any, length: int, dtype: Any) -> NDArray[Any]:
    padded = np.zeros(length, dtype=dtype)
    padded[: len(values)] = values
    return padded
