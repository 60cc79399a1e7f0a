"""Baselines that repeat what the shopper searched: alone, and mixed with co-click (the strongest simple hybrid)."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Final

from service.contracts.codecs import QUERY_TYPES
from workers.evaluation.cases import Case, Split
from workers.evaluation.co_click import CoClick
from workers.evaluation.methods import Lists, Params, top

_DAY_S: Final = 86400.0
_HALF_LIVES: Final = (1.0, 0.1, 4.0, 30.0)
"""Days after which a search counts half: from "the latest" to "the most frequent"."""
_OWN: Final = (0.5, 0.2, 0.35, 0.65, 0.8, 0.9, 0.97, 0.995)


def own_scores(case: Case, now: float, half_life: float) -> dict[str, float]:
    """Return the shopper's own queries, scored by how often and how lately (`half_life` in days) they were asked."""
    scores: dict[str, float] = defaultdict(float)
    for act in case.history:
        if act.type in QUERY_TYPES:
            scores[act.ref] += 0.5 ** ((now - act.ts) / _DAY_S / half_life)
    return scores


class Repeat:
    """The shopper's own queries."""

    name = "repeat"

    def __init__(self, split: Split) -> None:
        self._now = split.now
        self.grid: Sequence[Params] = [{"half_life": days} for days in _HALF_LIVES]

    def rank(self, cases: Sequence[Case], params: Params) -> Lists:
        """See `Baseline.rank`."""
        return [top(own_scores(case, self._now, float(params["half_life"] or 1.0))) for case in cases]


class RepeatAndCoClick:
    """The shopper's own queries and what follows them with others, mixed by score; `own` is the weight of one's own."""

    name = "repeat+co_click"

    def __init__(self, split: Split, co_click: CoClick, tuned: Sequence[Params]) -> None:
        """Mix with `co_click` under each of its `tuned` parameters."""
        self._now = split.now
        self._co_click = co_click
        distinct = [params for n, params in enumerate(tuned) if params not in tuned[:n]]
        self.grid: Sequence[Params] = [
            {"own": own, "half_life": days, **params}
            for params, days, own in product(distinct, _HALF_LIVES, _OWN)
        ]  # fmt: skip

    def rank(self, cases: Sequence[Case], params: Params) -> Lists:
        """See `Baseline.rank`."""
        own, half_life = float(params["own"] or 0.0), float(params["half_life"] or 1.0)
        return [
            top(
                _mixed(
                    own,
                    _relative(own_scores(case, self._now, half_life)),
                    _relative(self._co_click.scores(case, params)),
                )
            )
            for case in cases
        ]


def _relative(scores: Mapping[str, float]) -> dict[str, float]:
    """Return scores as shares of the highest, so that two kinds can be compared."""
    highest = max(scores.values(), default=0.0)
    return {query: score / highest for query, score in scores.items()} if highest > 0 else {}


def _mixed(share: float, one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    return {
        query: share * one.get(query, 0.0) + (1 - share) * other.get(query, 0.0) for query in {*one, *other}
    }  # fmt: skip
