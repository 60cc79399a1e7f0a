"""Rows compared by case over several seeds: a case's hits are averaged over them, and cases are resampled.

The intervals say how far the figures would move with other cases. How far they move with other seeds, the range over
the seeds says.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import polars as pl

from service.contracts.errors import ConfigError
from workers.common.bootstrap import Floats, interval, resampled_means
from workers.evaluation.measure import best_of, ratio
from workers.evaluation.strata import COLD_EVENTS

VIEWS: Final = ("all", "novel", "cold", "cold_novel")
Pair = tuple[str, str]


def parse_pairs(given: Sequence[str]) -> list[Pair]:
    """Return pairs of rows from texts A:B.

    Raises:
        ConfigError: a text is none.
    """
    pairs = [(first, second) for first, _, second in (one.partition(":") for one in given)]
    if wrong := [text for text, pair in zip(given, pairs, strict=True) if not all(pair)]:
        raise ConfigError(f"{wrong[0]}: is no pair of rows; write A:B, for example il_sft:sft")
    return pairs


def pooled(hits: pl.DataFrame, baselines: Sequence[str], pairs: Sequence[Pair], seed: int) -> dict[str, dict[str, Any]]:
    """Return by view (`VIEWS`) the number of cases, the best baseline, each row over it, and each pair's ratio.

    `hits` is of `by_case.averaged`.

    Raises:
        ConfigError: a pair names no row.
    """
    rows = hits["method"].unique(maintain_order=True).to_list()
    if missing := sorted({name for pair in pairs for name in pair} - set(rows)):
        raise ConfigError(f"{', '.join(missing)}: is no row of these reports; there are {', '.join(rows)}")
    cold = hits.filter(pl.col("events") <= COLD_EVENTS)
    views = zip(VIEWS, ((hits, "hit"), (hits, "novel_hit"), (cold, "hit"), (cold, "novel_hit")), strict=True)
    return {
        view: _compared(_columns(some, column, rows), [name for name in baselines if name in rows], pairs, seed)
        for view, (some, column) in views
    }


def _columns(hits: pl.DataFrame, column: str, rows: Sequence[str]) -> dict[str, Floats]:
    """Return by row its hits, shape (cases,): the same cases in the same order, those without targets left out."""
    some = hits.drop_nulls(column)
    if some.is_empty():
        return {name: np.empty(0) for name in rows}
    wide = some.pivot("method", index="user_id", values=column)
    return {name: wide[name].to_numpy().astype(np.float64) for name in rows}


def _compared(hits: Mapping[str, Floats], baselines: Sequence[str], pairs: Sequence[Pair], seed: int) -> dict[str, Any]:
    names = list(hits)
    columns = np.stack(list(hits.values()), axis=1)
    if not len(columns):
        return {"cases": 0, "best_baseline": None, "methods": {}, "pairs": {}}
    best = best_of(hits, baselines)
    means = resampled_means(columns, seed)

    def over(pair: Pair) -> dict[str, Any]:
        places = [names.index(name) for name in pair]
        value, span = ratio(columns[:, places], means[:, places])
        return {"ratio": value, "ci": span}

    return {
        "cases": len(columns),
        "best_baseline": best,
        "methods": {
            name: {
                "hr@6": float(hits[name].mean()),
                "hr@6_ci": interval(means[:, place]),
                "vs_best": over((name, best)),
            }
            for place, name in enumerate(names)
        },
        "pairs": {":".join(pair): over(pair) for pair in pairs},
    }
