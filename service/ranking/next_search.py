"""What a shopper may search next, likeliest first. Candidates: from counts, words, own queries, and a model.

Trees learned from what shoppers did search next order them. The features are the CTR ranker's, and where a candidate
came from. A click model itself orders them worse (docs/experiments.md, 2026-11-23): it knows what attracts a glance.

A directory: `model.txt` (LightGBM), `queries.json` (query statistics), `counts.json`, `meta.json`. Written by
`aigq train ranker`.
"""

import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Self

import bm25s
import lightgbm
import numpy as np

from service.contracts.codecs import QUERY_TYPES
from service.contracts.errors import ArtefactError
from service.contracts.text import near_key, terms
from service.ranking import model_folder
from service.ranking.fact_cache import CAPACITY, FactCache
from service.ranking.features import FEATURES, MAX_ENTRIES, VERSION, features
from service.ranking.filter import reject_reason
from service.ranking.next_counts import NextCounts
from service.ranking.query_stats import Floats, QueryStats
from service.ranking.shopper_context import ShopperContext
from service.ranking.shortlist import distinct, shortlist
from service.ranking.trees import Trees

MODEL: Final = "model.txt"
QUERIES: Final = "queries.json"
COUNTS: Final = "counts.json"
SOURCES: Final = ("follow", "follow_rank", "own_day", "own_month", "own_rank", "text", "popular", "shoppers")
"""The features beside the CTR ranker's."""
_FIX: Final = "train it with: aigq train ranker --data DIR --out models/ranker"
_FOLLOWING: Final = 60
_OWN: Final = 20
_TEXT: Final = 40
_TEXT_ACTS: Final = 3
_HALF_LIVES: Final = (1.0, 30.0)
_DAY_S: Final = 86400.0


class Candidates:
    """Finds candidates and describes them in numbers. Not for use by several threads at once."""

    def __init__(self, counts: NextCounts, stats: QueryStats) -> None:
        self.counts, self.stats = counts, stats
        self._cache = FactCache(stats)
        self._queries = list(counts.popularity)
        logging.getLogger("bm25s").setLevel(logging.WARNING)  # its import sets DEBUG
        self._text = bm25s.BM25()
        corpus = [_words(query) for query in self._queries]
        self._vocabulary = frozenset(word for words in corpus for word in words)
        if self._vocabulary:
            self._text.index([list(words) or [""] for words in corpus], show_progress=False)

    def describe(self) -> None:
        """Look at the facts of the known queries now (0.1 ms each), rather than while shoppers wait."""
        self._cache.rows(self._queries[: CAPACITY // 2], (), ())

    def find(
        self, context: ShopperContext, generated: Sequence[str] = (), found: Collection[str] = ()
    ) -> tuple[list[str], Floats]:
        """Return candidates, `generated` ones among them, and their features, shape (candidates, features).

        Those that were `found` before are left out.
        """
        counts, behaviour = self.counts, sorted(context.behaviour, key=lambda entry: entry.ts)
        follow = counts.following(reversed(behaviour), context.items)
        popular = counts.popular_with(context.profile)
        own: list[dict[str, float]] = [defaultdict(float) for _ in _HALF_LIVES]
        for entry in behaviour:
            # One's own queries may come back to oneself however rare they are: nobody else is shown them.
            if entry.type in QUERY_TYPES and reject_reason(entry.ref) is None:
                for scores, days in zip(own, _HALF_LIVES, strict=True):
                    scores[entry.ref] += 0.5 ** ((context.now - entry.ts) / _DAY_S / days)
        text = self._alike(context, behaviour)
        best = sorted(follow, key=lambda query: (-follow[query], query))[:_FOLLOWING]
        mine = list(dict.fromkeys(entry.ref for entry in reversed(behaviour) if entry.ref in own[0]))[:_OWN]
        named = dict.fromkeys([*best, *mine, *text, *popular, *generated])
        queries = [query for query in named if query not in found] if found else list(named)
        rank = {query: place for place, query in enumerate(best)}
        own_rank = {query: place for place, query in enumerate(mine)}
        columns = [
            [follow.get(query, 0.0) for query in queries],
            [rank.get(query, len(best)) for query in queries],
            *([scores.get(query, 0.0) for query in queries] for scores in own),
            [own_rank.get(query, _OWN) for query in queries],
            [text.get(query, 0.0) for query in queries],
            [popular.get(query, 0.0) for query in queries],
            [float(counts.popularity.get(query, 0)) for query in queries],
        ]
        recent = ShopperContext(context.now, behaviour[-2 * MAX_ENTRIES :], context.profile, context.items)
        table = np.array(columns, dtype=np.float32).T
        return queries, np.hstack([features(self._cache, recent, queries), table])

    def _alike(self, context: ShopperContext, behaviour: Sequence[Any]) -> dict[str, float]:
        """Return queries that share words with the latest actions, with their BM25 scores."""
        told: dict[str, None] = {}
        for entry in reversed(behaviour):
            item = None if entry.type in QUERY_TYPES else context.items.get(entry.ref)
            told.setdefault(entry.ref if entry.type in QUERY_TYPES else item.title if item else "")
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
    """A learned ranker of next searches. Not for use by several threads at once."""

    candidates: Candidates
    trees: Trees | None
    """None where logs were too few to learn from: candidates then keep the order of `Candidates.find`."""

    @property
    def counts(self) -> NextCounts:
        """What the candidates come from."""
        return self.candidates.counts

    def chances(self, context: ShopperContext, generated: Sequence[str] = ()) -> dict[str, float]:
        """Return candidates, likeliest first, with the chance that each is searched next (all 1 without trees)."""
        return self.chances_with(context, generated, {})

    def chances_with(
        self, context: ShopperContext, generated: Sequence[str], found: Mapping[str, float]
    ) -> dict[str, float]:
        """Return the same, knowing what was `found` for this context without `generated`."""
        return self.described(context, generated, found)[0]

    def described(
        self, context: ShopperContext, generated: Sequence[str], found: Mapping[str, float]
    ) -> tuple[dict[str, float], list[str], Floats]:
        """Return the same, and the CTR ranker's features of the queries that were not `found` before."""
        queries, table = self.candidates.find(context, generated, found)
        told = table[:, : len(FEATURES)]
        if self.trees is None or not queries:
            return {**found, **dict.fromkeys(queries, 1.0)}, queries, told
        scored = [*found.items(), *zip(queries, self.trees.predict(table).tolist(), strict=True)]
        return dict(sorted(scored, key=lambda one: -one[1])), queries, told

    def shortlist(self, context: ShopperContext, ranked: Iterable[str], limit: int) -> list[str]:
        """Return the first `limit` of the `ranked` queries (likeliest first) that a prompt may tell a model."""
        own = frozenset(entry.ref for entry in context.behaviour if entry.type in QUERY_TYPES)
        return distinct(shortlist(ranked, self.counts.popularity, own), limit)

    def ordered(self, context: ShopperContext, chances: Mapping[str, float]) -> Mapping[str, float]:
        """Return `chances`: lists are in the order in which candidates were found."""
        del context
        return chances

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open the ranker in `folder`.

        Raises:
            ArtefactError: it is missing, cut short, altered, or of another version.
        """
        meta, files = model_folder.read(folder, (MODEL, QUERIES, COUNTS), _FIX)
        if meta.get("version") != VERSION or meta.get("features") != [*FEATURES, *SOURCES]:
            raise ArtefactError(f"{folder}: has features of another release than this one; {_FIX}")
        try:
            candidates = Candidates(NextCounts.parse(files[COUNTS]), QueryStats.parse(files[QUERIES]))
            candidates.describe()
            text = files[MODEL].decode()
            return cls(candidates, Trees(lightgbm.Booster(model_str=text)) if text else None)
        except (ValueError, lightgbm.basic.LightGBMError) as error:
            raise ArtefactError(f"{folder}: {error}; {_FIX}") from None

    def save(self, folder: Path, meta: Mapping[str, Any]) -> None:
        """Write the ranker's directory; `meta` says what made it."""
        files = {
            MODEL: self.trees.booster.model_to_string().encode() if self.trees else b"",
            QUERIES: self.candidates.stats.dump(),
            COUNTS: self.counts.dump(),
        }
        described = {**meta, "version": VERSION, "features": [*FEATURES, *SOURCES]}
        model_folder.write(folder, described, files, {})


@lru_cache(maxsize=1 << 18)
def _words(text: str) -> tuple[str, ...]:
    return tuple(sorted({near_key(term) for term in terms(text)} - {""}))
