"""Stage 2b: what a shopper may search next, in the order of trees learned from what shoppers did search next.

The "production-ranked" part of labels, and the reason why logs without exposures lose little: it needs searches alone.
Candidates come from counts (`workers.training.counts`), from the words of the latest acts (BM25) and from
the shopper's own queries. The features are the CTR ranker's, and where a candidate came from. A CTR ranker itself
orders them worse (docs/experiments.md, 2026-11-23): it knows what attracts a glance, not what is wanted next.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Self

import bm25s
import lightgbm
import numpy as np
import polars as pl

from service.contracts.codecs import BehaviourEntry
from service.contracts.text import near_key, terms
from service.ranking.catalogue import Item
from service.ranking.fact_cache import FactCache
from service.ranking.features import MAX_ENTRIES, ShopperContext, features
from service.ranking.query_stats import Floats, QueryStats
from workers.training.counts import Production
from workers.training.sessions import DAY_S, Act, History, visits

AHEAD: Final = 3
"""A candidate was right if it is among this many next searches."""
_VISITS: Final = 5
"""Moments drawn from each history that the trees learn from."""
_FOLLOWING: Final = 60
_OWN: Final = 20
_TEXT: Final = 40
_TEXT_ACTS: Final = 3
_HALF_LIVES: Final = (1.0, 30.0)
_ROUNDS: Final = 250
_PARAMETERS: Final[Mapping[str, Any]] = {
    "objective": "binary",
    "learning_rate": 0.05,
    "num_leaves": 15,
    "min_data_in_leaf": 100,
    "lambda_l2": 10.0,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "max_bin": 127,
    "deterministic": True,
    "force_col_wise": True,
    "verbosity": -1,
}


class Candidates:
    """Finds candidates and describes them in numbers."""

    def __init__(self, production: Production, stats: QueryStats, items: Mapping[str, Item]) -> None:
        """`items`: the catalogue by id."""
        self.production, self.items = production, items
        self._cache = FactCache(stats)
        self._queries = list(production.popularity)
        logging.getLogger("bm25s").setLevel(logging.WARNING)  # its import sets DEBUG
        self._text = bm25s.BM25()
        corpus = [_words(query) for query in self._queries]
        self._vocabulary = frozenset(word for words in corpus for word in words)
        if self._vocabulary:
            self._text.index([list(words) or [""] for words in corpus], show_progress=False)

    def find(self, before: Sequence[Act], profile: Mapping[str, str], now: float) -> tuple[list[str], Floats]:
        """Return candidates and their features, shape (candidates, features)."""
        follow = self.production.following(before)
        popular = self.production.popular(profile)
        own: list[dict[str, float]] = [defaultdict(float) for _ in _HALF_LIVES]
        for act in before:
            if act.query in self.production.popularity:
                for scores, days in zip(own, _HALF_LIVES, strict=True):
                    scores[act.query] += 0.5 ** ((now - act.ts) / DAY_S / days)
        text = self._alike(before)
        best = sorted(follow, key=lambda query: (-follow[query], query))[:_FOLLOWING]
        mine = list(dict.fromkeys(act.query for act in reversed(before) if act.query in own[0]))[:_OWN]
        queries = list(dict.fromkeys([*best, *(query for query in mine if query), *text, *popular]))
        context = ShopperContext(now, [_entry(act) for act in before[-2 * MAX_ENTRIES :]], profile, self.items)
        rank = {query: place for place, query in enumerate(best)}
        columns = [
            [follow.get(query, 0.0) for query in queries],
            [rank.get(query, len(best)) for query in queries],
            *([scores.get(query, 0.0) for query in queries] for scores in own),
            [text.get(query, 0.0) for query in queries],
            [popular.get(query, 0.0) for query in queries],
            [float(self.production.popularity[query]) for query in queries],
        ]
        table = np.array(columns, dtype=np.float32).T
        return queries, np.hstack([features(self._cache, context, queries), table])

    def _alike(self, before: Sequence[Act]) -> dict[str, float]:
        """Return queries that share words with the latest acts, with their BM25 scores."""
        told: dict[str, None] = {}
        for act in reversed(before):
            text = act.query or (item.title if (item := self.items.get(act.item_id or "")) else "")
            told.setdefault(text)
            if len(told) == _TEXT_ACTS:
                break
        words = [word for text in told for word in _words(text) if word in self._vocabulary]
        if not words:
            return {}
        scores = self._text.get_scores(words)
        best = np.argpartition(-scores, min(_TEXT, len(scores) - 1))[:_TEXT]
        return {self._queries[place]: float(scores[place]) for place in best if scores[place] > 0}


@dataclass(frozen=True, slots=True)
class NextSearch:
    """A learned ranker of next searches."""

    candidates: Candidates
    trees: lightgbm.Booster | None
    """None where logs are too few to learn from: candidates then keep the order of `Candidates.find`."""

    @classmethod
    def learn(
        cls,
        folds: Iterable[tuple[Candidates, Sequence[History]]],
        candidates: Candidates,
        period: tuple[float, float],
        seed: int,
        progress: Callable[[int], None] = lambda _: None,
    ) -> Self:
        """Learn from `folds`: histories, each with candidates that did not count them; then rank `candidates`.

        What is learned must not have been counted, or each shopper's own next searches would stand out.
        `period`: when the moments are drawn that are learned from.
        """
        rng = np.random.default_rng(seed)
        tables: list[Floats] = []
        right: list[bool] = []
        for others, histories in folds:
            for history in histories:
                for moment in visits(history, _VISITS, period, rng):
                    coming = set([act.query for act in moment.after if act.query is not None][:AHEAD])
                    queries, table = others.find(moment.before, history.profile, moment.now)
                    tables.append(table)
                    right += [query in coming for query in queries]
                progress(1)
        if not any(right):
            return cls(candidates, None)
        data = lightgbm.Dataset(np.vstack(tables), np.array(right, dtype=np.float32))
        trees = lightgbm.train({**_PARAMETERS, "seed": seed}, data, _ROUNDS)
        return cls(candidates, trees)

    def chances(self, before: Sequence[Act], profile: Mapping[str, str], now: float) -> dict[str, float]:
        """Return candidates, likeliest first, with the chance that each is searched next (all 1 without trees)."""
        queries, table = self.candidates.find(before, profile, now)
        if self.trees is None:
            return dict.fromkeys(queries, 1.0)
        scores = np.asarray(self.trees.predict(table, num_threads=1))
        return {queries[place]: float(scores[place]) for place in np.argsort(-scores, kind="stable")}


def catalogue(items: pl.DataFrame) -> dict[str, Item]:
    """Return the catalogue by id; `items`: item_id, title, category, price."""
    rows = items.select("item_id", "title", pl.col("category").fill_null(""), "price").iter_rows()
    return {item_id: Item(item_id, title, category, price) for item_id, title, category, price in rows}


def _entry(act: Act) -> BehaviourEntry:
    return BehaviourEntry(act.type, act.ts, act.query or act.item_id or "")


@lru_cache(maxsize=1 << 18)
def _words(text: str) -> tuple[str, ...]:
    return tuple(sorted({near_key(term) for term in terms(text)} - {""}))
