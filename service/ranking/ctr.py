"""The CTR ranker: the chance that a shopper who looks at a hint clicks it. One rewards, another judges.

A directory: `model.txt` (LightGBM), `queries.json` (query statistics), `meta.json` (what made it, and the digests of
the other two). Written by `aigq train ctr`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from service.contracts.errors import ArtefactError
from service.ranking import model_folder
from service.ranking.fact_cache import FactCache
from service.ranking.features import FEATURES, VERSION, features
from service.ranking.model_folder import META
from service.ranking.query_stats import Floats, QueryStats
from service.ranking.shopper_context import ShopperContext

MODEL: Final = "model.txt"
QUERIES: Final = "queries.json"
_FIX: Final = "train it with: aigq train ctr --data DIR --out models/ctr"
_CHUNK: Final = 1024
"""Queries a pass, so that memory and the fact cache stay small."""


@dataclass(frozen=True, slots=True)
class CtrMeta:
    """What made a ranker. `examination` is by position, the most looked-at being 1; `data` names the dataset."""

    part: str
    cut_off: float
    data: Mapping[str, Any]
    examination: Sequence[float]
    bias: float
    """Log-odds that the trees' sum is added to."""
    figures: Mapping[str, Any]
    version: int = VERSION
    features: Sequence[str] = FEATURES


class CtrScorer:
    """An open CTR ranker. Not for use by several threads at once."""

    def __init__(self, meta: CtrMeta, stats: QueryStats, model: str) -> None:
        """`model` is LightGBM's text.

        Raises:
            ValueError: it is not, or its trees are larger than those of `aigq train ctr`.
        """
        import lightgbm  # noqa: PLC0415  (half a second, and only who scores needs it)

        from service.ranking.trees import Trees  # noqa: PLC0415  (needs it too)

        self.meta = meta
        self.stats = stats
        self._cache = FactCache(stats)
        try:
            self._trees = Trees(lightgbm.Booster(model_str=model))
        except lightgbm.basic.LightGBMError as error:
            raise ValueError(str(error)) from None

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open the ranker in `folder`.

        Raises:
            ArtefactError: it is missing, cut short, altered, or of another version.
        """
        content, files = model_folder.read(folder, (MODEL, QUERIES), _FIX)
        try:
            meta = CtrMeta(**content)
        except TypeError:
            raise ArtefactError(f"{folder / META}: is not the description of a CTR ranker; {_FIX}") from None
        if meta.version != VERSION or tuple(meta.features) != FEATURES:
            raise ArtefactError(
                f"{folder}: has features of version {meta.version}, this release computes version {VERSION}; {_FIX}"
            )
        try:
            stats = QueryStats.parse(files[QUERIES])
        except ValueError as error:
            raise ArtefactError(f"{folder / QUERIES}: {error}; {_FIX}") from None
        try:
            return cls(meta, stats, files[MODEL].decode())
        except ValueError as error:
            raise ArtefactError(f"{folder / MODEL}: {error}; {_FIX}") from None

    def score(self, context: ShopperContext, queries: Sequence[str]) -> Floats:
        """Return the chance of a click on each query if it is looked at, shape (queries,), each in (0, 1).

        A query's score depends neither on the others nor on their order.
        """
        chunks = [queries[start : start + _CHUNK] for start in range(0, len(queries), _CHUNK)]
        scores = [self.score_features(features(self._cache, context, chunk)) for chunk in chunks]
        return np.concatenate(scores) if scores else np.empty(0, dtype=np.float32)

    def score_features(self, matrix: Floats) -> Floats:
        """Return the same from features, shape (queries, `FEATURES`)."""
        return sigmoid(self._trees.log_odds(matrix) + self.meta.bias).astype(np.float32)


def sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return chances, strictly between 0 and 1 in float32 too."""
    chances: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-np.clip(logits, -15.0, 15.0)))
    return chances


def save(folder: Path, meta: CtrMeta, stats: QueryStats, model: str, extra: Mapping[str, bytes] | None = None) -> None:
    """Write a ranker's directory; under its final name it is complete. `extra` files (plots) are not checked later."""
    model_folder.write(folder, asdict(meta), {MODEL: model.encode(), QUERIES: stats.dump()}, extra or {})
