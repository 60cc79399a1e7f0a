"""BM25 text retrieval: the words of the shopper's latest queries and items against known queries (`bm25s`).

https://github.com/xhluca/bm25s
"""

import logging
from collections.abc import Sequence
from itertools import product
from typing import Any, Final

import numpy as np

from service.ranking.inverted_index import content_words
from workers.evaluation.cases import Case, Split, triggers
from workers.evaluation.libraries import optional
from workers.evaluation.methods import Lists, Params
from workers.evaluation.things import Things

_MAX_WORDS: Final = 64


class Bm25Text:
    """Known queries that share words with the latest `acts`; `popularity`: power of a query's popularity as a factor.

    `only` queries: whether titles of items speak too.
    """

    name = "bm25_text"

    def __init__(self, split: Split, things: Things) -> None:
        self._split = split
        self._things = things
        self._indexes: dict[tuple[float, float], Any] = {}
        self._popularity = np.array([split.queries[query] for query in things.queries], dtype=np.float32)
        self.grid: Sequence[Params] = [
            {"acts": acts, "only": only, "k1": k1, "b": b, "popularity": popularity}
            for acts, only, (k1, b), popularity in product(
                (3, 1), ("all", "queries"), ((1.2, 0.75), (0.6, 0.3)), (0.0, 0.3, 0.6)
            )
        ]

    def rank(self, cases: Sequence[Case], params: Params) -> Lists:
        """See `Baseline.rank`."""
        index = self._index(float(params["k1"] or 0.0), float(params["b"] or 0.0))
        acts, only = int(params["acts"] or 1), str(params["only"])
        factor = self._popularity ** float(params["popularity"] or 0.0)
        asked = [self._words(case, acts, only) for case in cases]

        def scores(some: slice) -> Any:
            nothing = np.zeros(len(self._things.queries), dtype=np.float32)
            found = [index.get_scores(one) if one else nothing for one in asked[some]]
            return np.stack(found) * factor

        return self._things.best(len(cases), scores)

    def _words(self, case: Case, acts: int, only: str) -> list[str]:
        """Return the known words of the case's latest acts; a word said twice counts twice."""
        found: list[str] = []
        told = [one for one in triggers(case, len(case.history)) if only == "all" or not one.startswith("item:")]
        for one in told[:acts]:
            item = self._split.items.get(one.removeprefix("item:")) if one.startswith("item:") else None
            if item is None and one.startswith("item:"):
                continue
            found += sorted(content_words(item.title if item is not None else one) & self._vocabulary)
        return found[:_MAX_WORDS]

    def _index(self, k1: float, b: float) -> Any:
        if (k1, b) not in self._indexes:
            corpus = [sorted(content_words(query)) or [""] for query in self._things.queries]
            self._vocabulary = frozenset(word for one in corpus for word in one)
            bm25s = optional("bm25s")
            logging.getLogger("bm25s").setLevel(logging.WARNING)  # its import sets DEBUG
            index = bm25s.BM25(k1=k1, b=b)
            index.index(corpus, show_progress=False)
            self._indexes[k1, b] = index
        return self._indexes[k1, b]
