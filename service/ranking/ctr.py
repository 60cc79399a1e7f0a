"""The CTR ranker: the chance that a shopper who looks at a hint clicks it. One object for serving, labels and rewards.

A directory: `model.txt` (LightGBM), `queries.json` (query statistics), `meta.json` (what made it, and the digests of
the other two). Written by `aigq train ctr`.
"""

import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import orjson
from numpy.typing import NDArray

from service.contracts.errors import ArtefactError
from service.ranking.catalogue import digest
from service.ranking.fact_cache import FactCache
from service.ranking.features import FEATURES, VERSION, ShopperContext, features
from service.ranking.query_stats import Floats, QueryStats

META: Final = "meta.json"
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
            ValueError: it is not.
        """
        import lightgbm  # noqa: PLC0415  (half a second, and only who scores needs it)

        self.meta = meta
        self.stats = stats
        self._cache = FactCache(stats)
        try:
            self._trees = lightgbm.Booster(model_str=model)
        except lightgbm.basic.LightGBMError as error:
            raise ValueError(str(error)) from None

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open the ranker in `folder`.

        Raises:
            ArtefactError: it is missing, cut short, altered, or of another version.
        """
        path = folder / META
        try:
            content = orjson.loads(path.read_bytes())
        except OSError:
            raise ArtefactError(f"{path}: missing; {_FIX}") from None
        except orjson.JSONDecodeError:
            raise ArtefactError(f"{path}: is not JSON (half copied?); {_FIX}") from None
        try:
            files = content.pop("files")
            meta = CtrMeta(**content)
            expected = {name: (files[name]["bytes"], files[name]["blake2b"]) for name in (MODEL, QUERIES)}
        except (AttributeError, KeyError, TypeError):
            raise ArtefactError(f"{path}: is not the description of a CTR ranker; {_FIX}") from None
        if meta.version != VERSION or tuple(meta.features) != FEATURES:
            raise ArtefactError(
                f"{path}: has features of version {meta.version}, this release computes version {VERSION}; {_FIX}"
            )
        for name, (size, known) in expected.items():
            _verify(folder / name, size, known)
        try:
            stats = QueryStats.parse((folder / QUERIES).read_bytes())
        except ValueError as error:
            raise ArtefactError(f"{folder / QUERIES}: {error}; {_FIX}") from None
        try:
            return cls(meta, stats, (folder / MODEL).read_text(encoding="utf-8"))
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
        logits = np.asarray(self._trees.predict(matrix, raw_score=True, num_threads=1), dtype=np.float64)
        return sigmoid(logits + self.meta.bias).astype(np.float32)


def sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return chances, strictly between 0 and 1 in float32 too."""
    chances: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-np.clip(logits, -15.0, 15.0)))
    return chances


def save(folder: Path, meta: CtrMeta, stats: QueryStats, model: str, extra: Mapping[str, bytes] | None = None) -> None:
    """Write a ranker's directory; under its final name it is complete. `extra` files (plots) are not checked later."""
    staging = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")
    old = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}.old")
    staging.mkdir(parents=True)
    try:
        (staging / MODEL).write_text(model, encoding="utf-8")
        (staging / QUERIES).write_bytes(stats.dump())
        for name, content in (extra or {}).items():
            (staging / name).write_bytes(content)
        files = {
            name: {"bytes": (staging / name).stat().st_size, "blake2b": digest(staging / name)}
            for name in (MODEL, QUERIES)
        }
        described = orjson.dumps({**asdict(meta), "files": files}, option=orjson.OPT_INDENT_2)
        (staging / META).write_bytes(described + b"\n")
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    if folder.exists():
        folder.rename(old)
    staging.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _verify(path: Path, size: int, expected: str) -> None:
    try:
        found = path.stat().st_size
    except OSError:
        raise ArtefactError(f"{path}: missing; {_FIX}") from None
    if found != size:
        raise ArtefactError(f"{path}: has {found} bytes, {META} says {size} (half copied?); {_FIX}")
    if digest(path) != expected:
        raise ArtefactError(f"{path}: does not match the digest in {META} (altered?); {_FIX}")
