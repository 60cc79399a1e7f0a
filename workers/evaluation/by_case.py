"""What every row suggested for each case and whether it hit: to compare rows by case, and to judge lists."""

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from polars.exceptions import PolarsError

from service.contracts.errors import ArtefactError
from workers.evaluation.cases import Case
from workers.evaluation.measure import MAIN, Suggested
from workers.evaluation.metrics import score

FILE: Final = "cases.parquet"
HITS: Final = ("user_id", "events", "method", "hit", "novel_hit")
"""The columns that comparisons need."""


def by_case(suggested: Mapping[str, Suggested], cases: Sequence[Case]) -> pl.DataFrame:
    """Return a row for each method and case, in the order of both.

    `user_id`, `events` (known before the cut-off), `method`, `hit` and `novel_hit` (at 6; null without novel targets),
    `queries` and `novel_queries` (the lists).
    """
    lists = pl.List(pl.String)
    known = [
        pl.Series("user_id", [case.user_id for case in cases], pl.String),
        pl.Series("events", [len(case.history) for case in cases], pl.UInt32),
    ]
    tables = []
    for name, one in suggested.items():
        hit = score(one.everything, [case.targets for case in cases])[MAIN]
        novel = score(one.novel, [case.novel_targets for case in cases])[MAIN]
        found = [
            pl.Series("method", [name] * len(cases), pl.String),
            pl.Series("hit", _booleans(hit), pl.Boolean),
            pl.Series("novel_hit", _booleans(novel), pl.Boolean),
            pl.Series("queries", one.everything, lists),
            pl.Series("novel_queries", one.novel, lists),
        ]
        tables.append(pl.DataFrame([*known, *found]))
    return pl.concat(tables)


def _booleans(hits: np.ndarray) -> list[bool | None]:
    return [None if np.isnan(one) else bool(one) for one in hits]


def read_hits(folder: Path) -> pl.DataFrame | None:
    """Return the columns `HITS` of a report's directory; None if it was written before there were any.

    Raises:
        ArtefactError: the file cannot be read.
    """
    file = folder / FILE
    if not file.exists():
        return None
    try:
        return pl.read_parquet(file, columns=list(HITS))
    except (OSError, PolarsError) as error:
        raise ArtefactError(f"{file}: cannot be read ({error}); evaluate again with: aigq evaluate --out DIR") from None


def averaged(seeds: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return each method's and case's hits, averaged over the seeds that have the method.

    Raises:
        ArtefactError: the seeds have other cases.
    """
    cases = [set(one.select("user_id", "events").iter_rows()) for one in seeds]
    if any(one != cases[0] for one in cases):
        raise ArtefactError("the reports are of different cases; evaluate all seeds on the same dataset")
    methods = list(dict.fromkeys(chain.from_iterable(one["method"].unique(maintain_order=True) for one in seeds)))
    order = pl.Enum(methods)
    return (
        pl.concat(seeds)
        .with_columns(pl.col("method").cast(order), pl.col("hit", "novel_hit").cast(pl.Float64))
        .group_by("user_id", "events", "method")
        .agg(pl.col("hit", "novel_hit").mean())
        .sort("user_id", "method")
        .with_columns(pl.col("method").cast(pl.String))
    )
