"""Measures of lists, as pure functions. A hit is a normalised exact match with a target."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from service.contracts.text import near_key

CUTS: Final = (3, 6, 10)
SHOWN: Final = 6
"""Hints that a shopper sees at once; the main figures are of these."""
Floats = NDArray[np.float64]


def hit(suggested: Sequence[str], targets: Collection[str], k: int) -> float:
    """Return 1 if one of the first `k` suggestions is a target, else 0."""
    return float(any(query in targets for query in suggested[:k]))


def ndcg(suggested: Sequence[str], targets: Collection[str], k: int) -> float:
    """Return the normalised discounted cumulative gain at `k`: each target is worth 1, whatever their order."""
    gain = sum(1 / math.log2(rank + 2) for rank, query in enumerate(suggested[:k]) if query in targets)
    ideal = sum(1 / math.log2(rank + 2) for rank in range(min(k, len(targets))))
    return gain / ideal if ideal else math.nan


def reciprocal_rank(suggested: Sequence[str], targets: Collection[str], k: int) -> float:
    """Return 1 / rank of the first hit among the first `k`, or 0."""
    return next((1 / (rank + 1) for rank, query in enumerate(suggested[:k]) if query in targets), 0.0)


def hit_rate(lists: Sequence[Sequence[str]], targets: Sequence[Collection[str]]) -> float:
    """Return the share of cases that are hit, of those with a target; NaN without any. Lists count as they are."""
    hits = [hit(one, wanted, len(one)) for one, wanted in zip(lists, targets, strict=True) if wanted]
    return sum(hits) / len(hits) if hits else math.nan


def score(lists: Sequence[Sequence[str]], targets: Sequence[Collection[str]]) -> dict[str, Floats]:
    """Return each measure by case, shape (cases,); NaN for a case without targets."""
    pairs = list(zip(lists, targets, strict=True))
    longest = CUTS[-1]
    found = {f"hr@{k}": [hit(one, wanted, k) for one, wanted in pairs] for k in CUTS}
    found["ndcg@10"] = [ndcg(one, wanted, longest) for one, wanted in pairs]
    found["mrr@10"] = [reciprocal_rank(one, wanted, longest) for one, wanted in pairs]
    nothing = np.array([not wanted for _, wanted in pairs], dtype=bool)
    return {name: np.where(nothing, np.nan, np.array(values, dtype=np.float64)) for name, values in found.items()}


def distinctness(lists: Sequence[Sequence[str]]) -> float:
    """Return the mean share of a list's queries that are no near-duplicates (plural, word order) of one before."""
    shares = [len({near_key(query) for query in one}) / len(one) for one in lists if one]
    return sum(shares) / len(shares) if shares else math.nan


def novelty(lists: Sequence[Sequence[str]], shoppers: Mapping[str, int], learners: int) -> float:
    """Return the mean self-information of suggested queries in bits: how few of `learners` search them.

    `shoppers` is the number of learners who searched a query; a query of nobody counts as if of one.
    """
    bits = [-math.log2(max(1, shoppers.get(query, 0)) / max(1, learners)) for one in lists for query in one]
    return sum(bits) / len(bits) if bits else math.nan
