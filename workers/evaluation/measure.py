"""From lists to figures: every method on the same cases, with intervals, by stratum, and what the lists are like."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np

from workers.common.bootstrap import Floats, interval, ratios, resampled_means
from workers.evaluation.cases import Case, Split
from workers.evaluation.methods import Lists, Method
from workers.evaluation.metrics import SHOWN, distinctness, novelty, score
from workers.evaluation.strata import Targets, strata
from workers.evaluation.words import WordIndex

MAIN: Final = "hr@6"
NOVEL: Final = "novel_"
Figures = dict[str, dict[str, Any]]
"""Method -> figure -> value; a `_ci` is a pair."""


@dataclass(frozen=True)
class Suggested:
    """What a method suggested for the test cases."""

    everything: Lists
    novel: Lists

    @classmethod
    def by(cls, method: Method, cases: Sequence[Case]) -> Self:
        """Ask `method` for both kinds of lists."""
        return cls(method.suggest(cases), method.suggest(cases, novel=True))


def measure(
    suggested: Mapping[str, Suggested], split: Split, index: WordIndex, baselines: Sequence[str], seed: int
) -> tuple[Figures, dict[str, str]]:
    """Return all figures by method, and the best of the `baselines` for all targets and for novel ones.

    Methods are compared with the baseline that is best on these very cases: the strictest choice.
    """
    cases = split.test
    found: Figures = {name: {} for name in suggested}
    best: dict[str, str] = {}
    views = (
        ("all", "", {name: one.everything for name, one in suggested.items()}, [case.targets for case in cases]),
        ("novel", NOVEL, {name: one.novel for name, one in suggested.items()}, [case.novel_targets for case in cases]),
    )
    for view, prefix, lists, targets in views:
        scores = {name: score(one, targets) for name, one in lists.items()}
        for name, by_case in scores.items():
            found[name] |= {f"{prefix}{figure}": _mean(values) for figure, values in by_case.items()}
        hits = {name: one[MAIN] for name, one in scores.items()}
        best[view] = best_of(hits, baselines)
        _add_intervals(found, hits, prefix, best[view], seed)
    for name, one in suggested.items():
        found[name] |= {
            "in_catalogue": index.share(one.novel),
            "distinct": distinctness(one.novel),
            "coverage@6": index.coverage([queries[:SHOWN] for queries in one.novel]),
            "coverage": index.coverage(one.novel),
            "novelty_bits": novelty(one.novel, split.queries, len(split.learners)),
            "length": sum(map(len, one.novel)) / max(1, len(one.novel)),
        }
    return found, best


def by_stratum(
    suggested: Mapping[str, Suggested], split: Split, baselines: Sequence[str], seed: int
) -> dict[str, dict[str, Any]]:
    """Return, by kind and stratum, the number of cases, its own best baseline, and the main figures of each method."""
    return {
        kind: {name: _stratum(suggested, split.test, wanted, baselines, seed) for name, wanted in some.items()}
        for kind, some in strata(split).items()
    }


def _stratum(
    suggested: Mapping[str, Suggested], cases: Sequence[Case], wanted: Targets, baselines: Sequence[str], seed: int
) -> dict[str, Any]:
    everything = [wanted(case, case.targets) for case in cases]
    novel = [wanted(case, case.novel_targets) for case in cases]
    found: Figures = {name: {} for name in suggested}
    best: dict[str, str | None] = {}
    for view, prefix, targets in (("all", "", everything), ("novel", NOVEL, novel)):
        scores = {
            name: score(one.novel if prefix else one.everything, targets)[MAIN] for name, one in suggested.items()
        }
        for name, values in scores.items():
            found[name][f"{prefix}{MAIN}"] = _mean(values)
        reference = best_of(scores, baselines)
        _add_intervals(found, scores, prefix, reference, seed)
        best[view] = reference if any(targets) else None
    return {
        "cases": sum(map(bool, everything)),
        "novel_cases": sum(map(bool, novel)),
        "best_baseline": best,
        "methods": found,
    }


def best_of(hits: Mapping[str, Floats], baselines: Sequence[str]) -> str:
    """Return the baseline with the most `hits`, (cases,) with NaN where none can be; of equals, the first."""
    return max(baselines, key=lambda name: float(np.nansum(hits[name])))


def _add_intervals(found: Figures, values: Mapping[str, Floats], prefix: str, best: str, seed: int) -> None:
    """Add the 95% interval of `MAIN`, the ratio to the method `best`, and its interval."""
    names = list(values)
    columns = np.stack([values[name] for name in names], axis=1)
    columns = columns[~np.isnan(columns).any(axis=1)]
    if not len(columns):
        return
    means = resampled_means(columns, seed)
    reference = names.index(best)
    for place, name in enumerate(names):
        found[name][f"{prefix}{MAIN}_ci"] = interval(means[:, place])
        found[name][f"{prefix}vs_best"], found[name][f"{prefix}vs_best_ci"] = ratio(
            columns[:, (place, reference)], means[:, (place, reference)]
        )


def ratio(columns: Floats, means: Floats) -> tuple[float, tuple[float, float] | None]:
    """Return the mean of the first of two columns over that of the second, and its interval from resampled `means`.

    NaN and None where the second has nothing.
    """
    over = ratios(means[:, 0], means[:, 1])
    usable = over[np.isfinite(over)]
    first, second = columns.mean(axis=0)
    return float(first / second) if second else float("nan"), interval(usable) if len(usable) else None


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
