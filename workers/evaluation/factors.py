"""Collaborative filtering by matrix: ALS and BM25-weighted nearest neighbours, both by the library `implicit`.

https://benfred.github.io/implicit/
"""

import warnings
from collections.abc import Sequence
from itertools import product
from typing import Any, Final

import numpy as np

from workers.evaluation.cases import Case, Split
from workers.evaluation.libraries import optional
from workers.evaluation.methods import Lists, Params
from workers.evaluation.things import Things

_ITERATIONS: Final = 12
_REGULARISATION: Final = 0.05
_NEIGHBOURS: Final = 200


class Als:
    """Alternating least squares on implicit feedback (Hu, Koren and Volinsky, 2008); a case is folded in.

    `items`: whether items are things too; `half_life`: days after which an act of the case counts half.
    """

    name = "als"

    def __init__(self, split: Split, things: Things, seed: int) -> None:
        self._split = split
        self._things = things
        self._seed = seed
        self._models: dict[tuple[str | float | None, ...], Any] = {}
        self.grid: Sequence[Params] = [
            {"items": items, "factors": factors, "alpha": alpha, "half_life": half_life}
            for items, factors, alpha, half_life in product(("yes", "no"), (32, 128), (5.0, 20.0), (3.0, 1.0))
        ]

    def rank(self, cases: Sequence[Case], params: Params) -> Lists:
        """See `Baseline.rank`."""
        optional("implicit.cpu.als")  # brings its own BLAS, which must be there to be limited
        with optional("threadpoolctl").threadpool_limits(1, "blas"):  # as implicit asks: it has threads of its own
            model = self._model(params)
            acts = self._things.matrix(cases, items=params["items"] == "yes", half_life=_half_life(params))
            # A shopper of whom nothing is known has the zero vector, so no scores.
            vectors = model.recalculate_user(np.arange(len(cases)), acts)
            vectors[np.diff(acts.indptr) == 0] = 0.0
            queries = model.item_factors[: len(self._things.queries)].T
            return self._things.best(len(cases), lambda some: vectors[some] @ queries)

    def _model(self, params: Params) -> Any:
        key = (params["items"], params["factors"], params["alpha"])
        if key not in self._models:
            model = optional("implicit.cpu.als").AlternatingLeastSquares(
                factors=int(params["factors"] or 64),
                alpha=float(params["alpha"] or 1.0),
                regularization=_REGULARISATION,
                iterations=_ITERATIONS,
                random_state=self._seed,
                num_threads=1,
            )
            model.fit(self._things.matrix(self._split.learners, items=params["items"] == "yes"), show_progress=False)
            self._models[key] = model
        return self._models[key]


class Bm25Cf:
    """Neighbouring things under BM25 weights: what is touched by the same shoppers, the popular counted less."""

    name = "bm25_cf"

    def __init__(self, split: Split, things: Things) -> None:
        self._split = split
        self._things = things
        self._models: dict[tuple[str | float | None, ...], Any] = {}
        self.grid: Sequence[Params] = [
            {"items": items, "k1": k1, "b": b, "half_life": half_life}
            for items, k1, b, half_life in product(("yes", "no"), (1.2, 0.4, 0.1), (0.75, 0.2), (2.0, 5.0))
        ]

    def rank(self, cases: Sequence[Case], params: Params) -> Lists:
        """See `Baseline.rank`."""
        similarity = self._similarity(params)
        acts = self._things.matrix(cases, items=params["items"] == "yes", half_life=_half_life(params))
        return self._things.best(len(cases), lambda some: (acts[some] @ similarity).toarray())

    def _similarity(self, params: Params) -> Any:
        """Return the CSC matrix (things, queries) of similarities."""
        key = (params["items"], params["k1"], params["b"])
        if key not in self._models:
            model = optional("implicit.nearest_neighbours").BM25Recommender(
                K=_NEIGHBOURS, K1=float(params["k1"] or 0.0), B=float(params["b"] or 0.0), num_threads=1
            )
            acts = self._things.matrix(self._split.learners, items=params["items"] == "yes")
            with warnings.catch_warnings():  # implicit warns of a conversion of its own making
                warnings.simplefilter("ignore", optional("implicit.utils").ParameterWarning)
                model.fit(acts, show_progress=False)
            self._models[key] = model.similarity[:, : len(self._things.queries)].tocsc()
        return self._models[key]


def _half_life(params: Params) -> float:
    return float(params["half_life"] or 1.0)
