"""What a method is, how a baseline becomes one, and how baselines are tuned.

A baseline only ranks what it knows of a case. What it leaves empty is filled with popular queries of shoppers like
this one, and for novel targets the shopper's own queries leave the list: the same for every baseline.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final, Protocol

from workers.evaluation.cases import Case
from workers.evaluation.metrics import hit_rate

K: Final = 10
TUNED_K: Final = 6
"""Baselines are tuned by HR at this length."""
DEPTH: Final = 60
"""How far baselines rank: enough for `K` after the shopper's own queries left."""

Params = Mapping[str, float | str | None]
Lists = list[list[str]]


class Method(Protocol):
    """Suggests queries. `novel` asks for lists without what the shopper searched before."""

    @property
    def name(self) -> str:
        """The name in tables and JSON."""
        ...

    def suggest(self, cases: Sequence[Case], k: int = K, *, novel: bool = False) -> Lists:
        """Return at most `k` distinct normalised queries a case, best first."""
        ...


class Baseline(Protocol):
    """A way to rank, with the parameters to be tried; the first of `grid` is a sensible default."""

    @property
    def name(self) -> str:
        """The name in tables and JSON."""
        ...

    @property
    def grid(self) -> Sequence[Params]:
        """What tuning tries."""
        ...

    def rank(self, cases: Sequence[Case], params: Params) -> Lists:
        """Return up to `DEPTH` queries a case, best first; empty where nothing is known."""
        ...


Fill = Callable[[Sequence[Case], bool], Lists]
"""The lists that fill up what a baseline leaves empty, for all targets or (True) for novel ones."""


@dataclass(frozen=True)
class Tuned:
    """A baseline with the parameters that were best on validation, for all targets and for novel ones."""

    baseline: Baseline
    params: Params
    novel_params: Params
    fill: Fill | None
    validation: tuple[float, float]
    """HR@`TUNED_K` on validation, all and novel; NaN where there was nothing to tune on."""

    @property
    def name(self) -> str:
        """The baseline's name."""
        return self.baseline.name

    def suggest(self, cases: Sequence[Case], k: int = K, *, novel: bool = False) -> Lists:
        """See `Method.suggest`."""
        ranked = self.baseline.rank(cases, self.novel_params if novel else self.params)
        return _complete(ranked, cases, self.fill, k, novel=novel)


def tune(
    baseline: Baseline, validation: Sequence[Case], fill: Fill | None, advance: Callable[[], None] = lambda: None
) -> Tuned:
    """Return the baseline with its best parameters on `validation`; of equals, the first. `advance` after each."""
    targets = ([case.targets for case in validation], [case.novel_targets for case in validation])
    scores: list[tuple[float, float]] = []
    for params in baseline.grid:
        ranked = baseline.rank(validation, params) if validation else []
        everything, novel = (_complete(ranked, validation, fill, TUNED_K, novel=novel) for novel in (False, True))
        scores.append((hit_rate(everything, targets[0]), hit_rate(novel, targets[1])))
        advance()
    best, best_novel = (max(range(len(scores)), key=lambda n, view=view: _known(scores[n][view])) for view in (0, 1))  # type: ignore[misc]
    return Tuned(
        baseline,
        baseline.grid[best],
        baseline.grid[best_novel],
        fill,
        (scores[best][0], scores[best_novel][1]),
    )


def _known(score: float) -> float:
    return 0.0 if math.isnan(score) else score  # NaN where there are no cases


def _complete(ranked: Lists, cases: Sequence[Case], fill: Fill | None, k: int, *, novel: bool) -> Lists:
    others = fill(cases, novel) if fill else [[] for _ in cases]
    return [
        first_distinct(one, other, limit=k, without=case.searched if novel else {})
        for one, other, case in zip(ranked, others, cases, strict=True)
    ]


def first_distinct(*lists: Sequence[str], limit: int, without: Mapping[str, object]) -> list[str]:
    """Return the first `limit` distinct queries of the lists, one list after the other, none of `without`."""
    chosen: dict[str, None] = {}
    for query in chain(*lists):
        if query not in without:
            chosen[query] = None
            if len(chosen) == limit:
                break
    return list(chosen)


def top(scores: Mapping[str, float], limit: int = DEPTH) -> list[str]:
    """Return the queries with the highest scores; equals in the order of their text."""
    return [query for query, _ in sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))[:limit]]
