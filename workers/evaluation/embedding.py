"""Embedding retrieval: vectors of queries and items from who did what near what, shoppers as mixtures of them.

Vectors are a truncated SVD of the positive pointwise mutual information (PPMI) of neighbouring acts. That is what
skip-gram with negative sampling factorises too (Levy and Goldberg, 2014), but it needs no pretrained encoder, no GPU
and no luck: the same logs give the same vectors.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import product
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from workers.evaluation.cases import Case, Split, trigger, triggers
from workers.evaluation.libraries import optional
from workers.evaluation.methods import Lists, Params
from workers.evaluation.things import Things

_TRAIL: Final = 15


class Embedding:
    """Known queries by cosine to the faded mean of the case's latest things.

    `window`: acts to each side that are neighbours; `fade`: weight of each further thing; `popularity`: power of a
    query's popularity as a factor.
    """

    name = "embedding"

    def __init__(self, split: Split, things: Things, seed: int) -> None:
        self._split = split
        self._things = things
        self._seed = seed
        self._vectors: dict[tuple[int, int], NDArray[np.float32]] = {}
        self._counts: dict[int, Counter[tuple[int, int]]] = {}
        self._popularity = np.array([split.queries[query] for query in things.queries], dtype=np.float32)
        self.grid: Sequence[Params] = [
            {"window": window, "size": size, "fade": fade, "popularity": popularity}
            for window, size, fade, popularity in product((10, 30), (64, 192), (0.7, 0.9), (0.2, 0.8))
        ]

    def rank(self, cases: Sequence[Case], params: Params) -> Lists:
        """See `Baseline.rank`."""
        vectors = self._learn(int(params["window"] or 1), int(params["size"] or 64))
        factor = self._popularity ** float(params["popularity"] or 0.0)
        mixed = np.stack([self._mean(case, vectors, float(params["fade"] or 1.0)) for case in cases])
        queries = vectors[: len(self._things.queries)].T
        # A query that points away is no suggestion.
        return self._things.best(len(cases), lambda some: np.maximum(mixed[some] @ queries, 0.0) * factor)

    def _mean(self, case: Case, vectors: NDArray[np.float32], fade: float) -> NDArray[np.float32]:
        mean = np.zeros(vectors.shape[1], dtype=np.float32)
        for age, one in enumerate(triggers(case, _TRAIL)):
            if (place := self._things.number.get(one)) is not None:
                mean += fade**age * vectors[place]
        length = float(np.linalg.norm(mean))
        return mean / length if length else mean

    def _learn(self, window: int, size: int) -> NDArray[np.float32]:
        """Return unit vectors, shape (things, size); zero for a thing that never had a neighbour."""
        if (window, size) not in self._vectors:
            matrix = _ppmi(self._neighbours(window), len(self._things.number))
            size = max(1, min(size, len(self._things.number) - 1))
            svd = optional("sklearn.utils.extmath").randomized_svd
            left, strength, _ = svd(matrix, n_components=size, n_iter=4, random_state=self._seed)
            vectors = left * np.sqrt(strength)
            lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
            self._vectors[window, size] = (vectors / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)
        return self._vectors[window, size]

    def _neighbours(self, window: int) -> Counter[tuple[int, int]]:
        if window not in self._counts:
            counts: Counter[tuple[int, int]] = Counter()
            for shopper in self._split.learners:
                row = [self._things.number.get(trigger(act)) for act in shopper.history]
                known = [place for place in row if place is not None]
                for here, one in enumerate(known):
                    counts.update((one, other) for other in known[here + 1 : here + 1 + window] if other != one)
            self._counts[window] = counts
        return self._counts[window]


def _ppmi(counts: Counter[tuple[int, int]], width: int) -> Any:
    """Return the symmetric CSR matrix of positive pointwise mutual information."""
    sparse = optional("scipy.sparse")
    places = np.array(list(counts), dtype=np.int64).reshape(-1, 2)
    values = np.array(list(counts.values()), dtype=np.float64)
    matrix = sparse.coo_matrix((values, (places[:, 0], places[:, 1])), shape=(width, width)).tocsr()
    matrix = (matrix + matrix.T).tocoo()
    sums = np.asarray(matrix.sum(axis=1)).ravel()
    information = np.log(matrix.data * sums.sum() / (sums[matrix.row] * sums[matrix.col]))
    kept = information > 0
    return sparse.csr_matrix((information[kept], (matrix.row[kept], matrix.col[kept])), shape=(width, width))
