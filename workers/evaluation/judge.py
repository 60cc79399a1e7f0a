"""A CTR ranker that never rewarded or ordered anything judges what each method would show."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from service.contracts.errors import ArtefactError
from service.ranking.catalogue import Item
from service.ranking.ctr import CtrScorer
from workers.common.bootstrap import interval, resampled_means
from workers.evaluation.cases import Split
from workers.evaluation.metrics import SHOWN
from workers.evaluation.model import context_of


def judge_of(path: Path) -> CtrScorer:
    """Open the judge in the directory `path`.

    Raises:
        ArtefactError: it is no CTR ranker, or one that learned from shoppers whom models may have learned from.
    """
    scorer = CtrScorer.open(path)
    if scorer.meta.part != "judge":
        raise ArtefactError(
            f"{path}: learned from the part {scorer.meta.part!r}, as rewards do; a judge: aigq train ctr --part judge"
        )
    return scorer


def judged(
    shown: Mapping[str, Sequence[Sequence[str]]], split: Split, scorer: CtrScorer, seed: int
) -> dict[str, dict[str, Any]]:
    """Return by method `judge@6`, the mean predicted clicks on the first `SHOWN` hints if all are looked at.

    `shown`: by method, a list for each test case. A short list has fewer clicks. `judge@6_ci` is its 95% interval.
    """
    items = {item_id: Item(item_id, item.title, item.category, item.price) for item_id, item in split.items.items()}
    names = list(shown)
    clicks = np.zeros((len(split.test), len(names)))
    for place, case in enumerate(split.test):
        lists = [shown[name][place][:SHOWN] for name in names]
        queries = list(dict.fromkeys(query for one in lists for query in one))
        chances = dict(zip(queries, scorer.score(context_of(case, items, split.now), queries).tolist(), strict=True))
        clicks[place] = [sum(chances[query] for query in one) for one in lists]
    means = resampled_means(clicks, seed)
    return {
        name: {"judge@6": float(clicks[:, column].mean()), "judge@6_ci": interval(means[:, column])}
        for column, name in enumerate(names)
    }
