"""Stage 2b: learn to order what a shopper may search next, from what shoppers did (`service.ranking.next_search`).

The "production-ranked" part of labels, and the reason why logs without exposures lose little: it needs searches alone.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import lightgbm
import numpy as np
import polars as pl

from service.contracts.codecs import BehaviourEntry
from service.ranking.catalogue import Item
from service.ranking.next_search import Candidates, NextSearch
from service.ranking.query_stats import Floats
from service.ranking.shopper_context import ShopperContext
from service.ranking.trees import Trees
from workers.training.sessions import Act, History, visits

AHEAD: Final = 3
"""A candidate was right if it is among this many next searches."""
_VISITS: Final = 5
"""Moments drawn from each history that the trees learn from."""
_ROUNDS: Final = 250
_PARAMETERS: Final[Mapping[str, Any]] = {
    "objective": "binary",
    "learning_rate": 0.05,
    "num_leaves": 15,
    "min_data_in_leaf": 100,
    "lambda_l2": 10.0,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "max_bin": 127,
    "deterministic": True,
    "force_col_wise": True,
    "verbosity": -1,
}


def context_of(
    before: Sequence[Act], profile: Mapping[str, str], now: float, items: Mapping[str, Item]
) -> ShopperContext:
    """Return what rankers are told of a moment; `items`: the catalogue by id."""
    known = [BehaviourEntry(act.type, act.ts, act.query or act.item_id or "") for act in before]
    return ShopperContext(now, known, profile, items)


def learn(
    folds: Iterable[tuple[Candidates, Sequence[History]]],
    candidates: Candidates,
    items: Mapping[str, Item],
    period: tuple[float, float],
    seed: int,
    progress: Callable[[int], None] = lambda _: None,
) -> NextSearch:
    """Learn from `folds`: histories, each with candidates that did not count them; then rank `candidates`.

    What is learned must not have been counted, or each shopper's own next searches would stand out.
    `period`: when the moments are drawn that are learned from.
    """
    rng = np.random.default_rng(seed)
    tables: list[Floats] = []
    right: list[bool] = []
    for others, histories in folds:
        for history in histories:
            for moment in visits(history, _VISITS, period, rng):
                coming = set([act.query for act in moment.after if act.query is not None][:AHEAD])
                queries, table = others.find(context_of(moment.before, history.profile, moment.now, items))
                tables.append(table)
                right += [query in coming for query in queries]
            progress(1)
    if not any(right):
        return NextSearch(candidates, None)
    data = lightgbm.Dataset(np.vstack(tables), np.array(right, dtype=np.float32))
    return NextSearch(candidates, Trees(lightgbm.train({**_PARAMETERS, "seed": seed}, data, _ROUNDS)))


def catalogue(items: pl.DataFrame) -> dict[str, Item]:
    """Return the catalogue by id; `items`: item_id, title, category, price."""
    rows = items.select("item_id", "title", pl.col("category").fill_null(""), "price").iter_rows()
    return {item_id: Item(item_id, title, category, price) for item_id, title, category, price in rows}
