"""From logs to query statistics: what `service.ranking.query_stats` knows of queries, words and categories."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import polars as pl

from service.contracts.codecs import QUERY_TYPES
from service.contracts.text import terms
from service.ranking.query_stats import QueryRow, QueryStats, Weighted
from workers.common.item_text import MIN_SHOPPERS
from workers.common.prompt import leaf

_FOLLOWS_S: Final = 1800.0
"""An item clicked within this time after a query was found by it."""
_WEEK_S: Final = 7 * 86400.0
_DAY_S: Final = 86400.0
_ITEM_WEIGHT: Final = 0.5
"""What a title says of a word's category, against what one shopper's click says."""
_TERM_CATEGORIES: Final = 8
_AFTER: Final = 20
_AFTER_SHOPPERS: Final = 20.0
_MIN_LIFT: Final = 0.2
_MIN_VALUE_SHOPPERS: Final = 20
_MAX_VALUES: Final = 64
_ITEM_TYPES: Final = ("click", "cart", "purchase")
_NONE: Final = Counter[int]()


class ItemWords:
    """What titles say of words: counted once, used by every fold. `items`: item_id, title, category, brand, price."""

    def __init__(self, items: pl.DataFrame) -> None:
        categories = items["category"].drop_nulls().unique().sort().to_list()
        self.categories: list[str] = [category for category in categories if category]
        self.number = {category: number for number, category in enumerate(self.categories)}
        self.documents = items.height
        self.frequency: Counter[str] = Counter()
        self.by_category: defaultdict[str, Counter[int]] = defaultdict(Counter)
        for title, category in items.select("title", "category").iter_rows():
            words = terms(title) | (terms(leaf(category)) if category else set())
            self.frequency.update(words)
            if category:
                for word in words:
                    self.by_category[word][self.number[category]] += 1
        self.brands: list[str] = [brand for brand in items["brand"].drop_nulls().unique().sort().to_list() if brand]
        prices = items.filter(pl.col("price") > 0).select("item_id", "category", logged=pl.col("price").log())
        mean = prices["logged"].mean()
        overall = float(mean) if isinstance(mean, float) else 0.0
        by_category = dict(prices.drop_nulls().group_by("category").agg(pl.col("logged").mean()).iter_rows())
        self.prices: list[float] = [round(by_category.get(category, overall), 4) for category in self.categories]
        numbers = pl.DataFrame(
            {"category": self.categories, "number": range(len(self.categories)), "usual": self.prices},
            schema={"category": pl.String, "number": pl.Int64, "usual": pl.Float64},
        )
        self.items = (
            items.select("item_id", "category")
            .join(numbers, on="category")
            .join(prices.select("item_id", "logged"), on="item_id", how="left")
            .select("item_id", "number", tier=pl.col("logged") - pl.col("usual"))
        )


def count(acts: pl.DataFrame, words: ItemWords, profiles: pl.DataFrame) -> QueryStats:
    """Return the statistics of `acts` (user_id, ts, type, query normalised, item_id; by shopper in time order).

    `profiles`: user_id and string fields. Queries of fewer than `MIN_SHOPPERS` shoppers are left out.
    """
    shoppers = acts["user_id"].n_unique()
    values = _profile_values(profiles)
    numbered = _numbered(profiles, values).join(acts.select("user_id").unique(), on="user_id", how="semi")
    total = sum(map(len, values.values()))
    searches = acts.filter(pl.col("type") == "search").select("user_id", "query").unique()
    found = _found_by(acts, words)
    pairs = found.select("user_id", "query", "number").unique()
    in_category = found.select("user_id", "number").unique()
    rows = _query_rows(searches, pairs, found, numbered, total)
    seen, bought = (_after(acts, words, found, types) for types in (("click", "cart"), ("purchase",)))
    return QueryStats(
        shoppers=shoppers,
        categories=words.categories,
        category_shoppers=_by_number(in_category, len(words.categories)),
        category_profile=_matrix(in_category, numbered, len(words.categories), total),
        category_price=words.prices,
        profile=values,
        profile_shoppers=_by_number(numbered.rename({"value": "number"}), total),
        queries=rows,
        terms=_terms(rows, words),
        brands=words.brands,
        after_seen=seen,
        after_bought=bought,
        unknown_rarity=round(float(np.log1p(words.documents + len(rows))), 4),
    )


def _profile_values(profiles: pl.DataFrame) -> dict[str, list[str]]:
    """Return the values of each field that enough shoppers have."""
    values = {}
    for name in sorted(set(profiles.columns) - {"user_id"}):
        counted = profiles[name].drop_nulls().value_counts().filter(pl.col("count") >= _MIN_VALUE_SHOPPERS)
        kept = counted.sort(["count", name], descending=[True, False])[name].head(_MAX_VALUES).to_list()
        if kept:
            values[name] = kept
    return values


def _numbered(profiles: pl.DataFrame, values: Mapping[str, Sequence[str]]) -> pl.DataFrame:
    """Return (user_id, value), one row for each value that a shopper has, as a number."""
    frames = [pl.DataFrame(schema={"user_id": pl.String, "value": pl.Int64})]
    start = 0
    for name, known in values.items():
        numbers = {value: start + place for place, value in enumerate(known)}
        column = pl.col(name).replace_strict(numbers, default=None, return_dtype=pl.Int64)
        frames.append(profiles.select("user_id", column.alias("value")).drop_nulls())
        start += len(known)
    return pl.concat(frames)


def _found_by(acts: pl.DataFrame, words: ItemWords) -> pl.DataFrame:
    """Return (user_id, query, asked, number, tier): items, by category, that were clicked soon after a query."""
    asked = pl.col("type").is_in(QUERY_TYPES)
    return (
        acts.with_columns(
            pl.when(asked).then("query").forward_fill().over("user_id"),
            pl.when(asked).then("ts").forward_fill().over("user_id").alias("asked"),
        )
        .filter(pl.col("type").is_in(_ITEM_TYPES) & (pl.col("ts") - pl.col("asked") <= _FOLLOWS_S))
        .join(words.items, on="item_id")
        .select("user_id", "query", "asked", "number", "tier")
    )


def _query_rows(
    searches: pl.DataFrame, pairs: pl.DataFrame, found: pl.DataFrame, numbered: pl.DataFrame, values: int
) -> dict[str, QueryRow]:
    counted = searches.group_by("query").len("shoppers").filter(pl.col("shoppers") >= MIN_SHOPPERS).sort("query")
    clicks: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
    known = counted.select("query")
    by_category = pairs.join(known, on="query", how="semi").group_by("query", "number").len().sort("query", "number")
    for query, number, shoppers in by_category.iter_rows():
        clicks[query].append((number, float(shoppers)))
    profile: defaultdict[str, list[int]] = defaultdict(lambda: [0] * values)
    by_value = (
        searches.join(known, on="query", how="semi").join(numbered, on="user_id").group_by("query", "value").len()
    )
    for query, value, shoppers in by_value.iter_rows():
        profile[query][value] = shoppers
    tiers = dict(
        found.drop_nulls("tier").group_by("query").agg(pl.col("tier").mean().round(4), pl.len()).sort("query")
        .filter(pl.col("len") >= MIN_SHOPPERS).select("query", "tier").iter_rows()
    )  # fmt: skip
    return {
        query: QueryRow(shoppers, clicks[query], profile[query], tiers.get(query))
        for query, shoppers in counted.iter_rows()
    }


def _terms(rows: Mapping[str, QueryRow], words: ItemWords) -> dict[str, tuple[float, Weighted]]:
    """Return by word its rarity and the categories that titles and clicks say it means."""
    frequency = words.frequency.copy()
    clicked: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for query, row in rows.items():
        for word in terms(query):
            frequency[word] += 1
            for number, clicks in row.clicks:
                clicked[word][number] += int(clicks)
    documents = words.documents + len(rows)
    table: dict[str, tuple[float, Weighted]] = {}
    for word in sorted(frequency):
        # .get: asking a defaultdict would fill it
        scores = {number: _ITEM_WEIGHT * items for number, items in words.by_category.get(word, _NONE).items()}
        for number, clicks in clicked.get(word, _NONE).items():
            scores[number] = scores.get(number, 0.0) + clicks
        total = sum(scores.values())
        best = sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))[:_TERM_CATEGORIES]
        shares = [(number, round(score / total, 4)) for number, score in best]
        table[word] = (round(float(np.log1p(documents / frequency[word])), 4), shares)
    return table


def _by_number(pairs: pl.DataFrame, length: int) -> list[int]:
    return np.bincount(pairs["number"].to_numpy(), minlength=length).tolist() if length else []


def _matrix(in_category: pl.DataFrame, numbered: pl.DataFrame, categories: int, values: int) -> list[list[int]]:
    counts = np.zeros((categories, values), dtype=np.int64)
    joined = in_category.join(numbered, on="user_id")
    np.add.at(counts, (joined["number"].to_numpy(), joined["value"].to_numpy()), 1)
    found: list[list[int]] = counts.tolist()
    return found


def _after(acts: pl.DataFrame, words: ItemWords, found: pl.DataFrame, types: Sequence[str]) -> list[Weighted]:
    """Return by category what shoppers look for in the week after an act of `types` in it, as log lifts over usual."""
    sources = (
        acts.filter(pl.col("type").is_in(types))
        .join(words.items, on="item_id")
        .group_by("user_id", "number", (pl.col("ts") // _DAY_S).alias("day"))
        .agg(pl.col("ts").min())
    )
    targets = found.group_by("user_id", pl.col("number").alias("later"), (pl.col("asked") // _DAY_S).alias("day")).agg(
        pl.col("asked").max()
    )
    both = (
        sources.join(targets, on="user_id")
        .filter(
            (pl.col("number") != pl.col("later"))
            & (pl.col("asked") > pl.col("ts"))
            & (pl.col("asked") - pl.col("ts") <= _WEEK_S)
        )
        .select("user_id", "number", "later")
        .unique()
    )
    shoppers = np.array(
        _by_number(sources.select("user_id", "number").unique(), len(words.categories)), dtype=np.float64
    )
    usual = np.array(_by_number(both.select(number="later"), len(words.categories)), dtype=np.float64)
    usual /= max(1.0, float(shoppers.sum()))
    after: list[list[tuple[int, float]]] = [[] for _ in words.categories]
    counted = both.group_by("number", "later").len("shoppers").filter(pl.col("shoppers") >= MIN_SHOPPERS)
    for number, later, together in counted.sort("number", "later").iter_rows():
        share = (together + _AFTER_SHOPPERS * usual[later]) / (shoppers[number] + _AFTER_SHOPPERS)
        lift = round(float(np.log(share / usual[later])), 4)
        if lift >= _MIN_LIFT:
            after[number].append((later, lift))
    return [sorted(pairs, key=lambda pair: (-pair[1], pair[0]))[:_AFTER] for pairs in after]
