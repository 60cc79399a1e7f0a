"""Shoppers x things (queries and items) as sparse matrices, for methods that factorise."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from workers.common.item_text import MIN_SHOPPERS
from workers.evaluation.cases import Shopper, Split, trigger
from workers.evaluation.libraries import optional
from workers.evaluation.methods import DEPTH, Lists, top

_DAY_S: Final = 86400.0
_CHUNK: Final = 256
"""Cases whose scores over all queries are in memory at a time."""


class Things:
    """Numbers the things that enough learners touched: queries first, in the order of `Split.queries`, then items."""

    def __init__(self, split: Split) -> None:
        self._now = split.now
        self.queries: list[str] = list(split.queries)
        shoppers: Counter[str] = Counter()
        for shopper in split.learners:
            shoppers.update({one for act in shopper.history if (one := trigger(act)) not in split.queries})
        items = sorted(one for one, count in shoppers.items() if count >= MIN_SHOPPERS and one.startswith("item:"))
        self.number: Mapping[str, int] = {one: place for place, one in enumerate([*self.queries, *items])}

    def width(self, *, items: bool) -> int:
        """Return the number of columns, with items or without."""
        return len(self.number) if items else len(self.queries)

    def matrix(self, shoppers: Sequence[Shopper], *, items: bool, half_life: float | None = None) -> Any:
        """Return a CSR matrix (shoppers, things) of how often each thing was touched.

        With `half_life` (days), what is older counts less.
        """
        sparse = optional("scipy.sparse")
        width = self.width(items=items)
        rows: list[int] = []
        columns: list[int] = []
        values: list[float] = []
        for row, shopper in enumerate(shoppers):
            weights: dict[int, float] = {}
            for act in shopper.history:
                place = self.number.get(trigger(act), width)
                if place < width:
                    age = (self._now - act.ts) / _DAY_S
                    weights[place] = weights.get(place, 0.0) + (1.0 if half_life is None else 0.5 ** (age / half_life))
            rows.extend([row] * len(weights))
            columns.extend(weights)
            values.extend(weights.values())
        shape = (len(shoppers), width)
        return sparse.csr_matrix((np.array(values, dtype=np.float32), (rows, columns)), shape=shape, dtype=np.float32)

    def best(self, count: int, scores_of: Callable[[slice], NDArray[np.float32]]) -> Lists:
        """Return the best queries of `count` cases; `scores_of(cases)` gives (cases, queries). Zero is no score."""
        lists: Lists = []
        depth = min(DEPTH, len(self.queries))
        for start in range(0, count, _CHUNK):
            scores = np.asarray(scores_of(slice(start, min(start + _CHUNK, count))))
            highest = np.argpartition(-scores, depth - 1, axis=1)[:, :depth]
            for row, places in zip(scores, highest, strict=True):
                lists.append(top({self.queries[place]: float(row[place]) for place in places if row[place] != 0.0}))
        return lists
