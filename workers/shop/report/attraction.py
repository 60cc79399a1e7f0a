"""Judges lists by the truth: how likely a shopper who looks at a hint clicks it, as the next visit begins.

The lists are those that `aigq evaluate --out` writes. Nothing that is learned or served may know this judge.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from polars.exceptions import PolarsError

from service.contracts.errors import ArtefactError
from workers.common.bootstrap import interval, resampled_means
from workers.common.dataset import Dataset
from workers.common.split import cut_off
from workers.shop.catalogue import Shop
from workers.shop.report.cases import SUGGESTED, same
from workers.shop.report.replay import Moment, replay, unlike

_COLUMNS: Final = ("user_id", "method", "novel_queries")
_VISIT: Final = pl.col("session_id").str.split("-").list.last().cast(pl.Int64)


class Judged(NamedTuple):
    """Of one method: the mean true chance of a click on each of the first six hints, if looked at.

    Hints that a short list lacks have 0.
    """

    attraction: float
    low: float
    high: float
    unknown: float
    """Share of its hints that mean nothing in the sample shop (typos, made-up words); they have 0 too."""


class Judgement(NamedTuple):
    """By method, on `cases` shoppers; `left_out` are bots and those whom the replay did not repeat exactly."""

    methods: dict[str, Judged]
    cases: int
    left_out: int


def read_lists(path: Path) -> pl.DataFrame:
    """Return user_id, method and novel_queries of a file `cases.parquet`.

    Raises:
        ArtefactError: it is no such file, or is empty.
    """
    try:
        lists = pl.read_parquet(path, columns=list(_COLUMNS))
    except (OSError, PolarsError) as error:
        raise ArtefactError(f"{path}: has no lists ({error}); write them with: aigq evaluate --out DIR") from None
    if lists.is_empty():
        raise ArtefactError(f"{path}: has no lists; write them with: aigq evaluate --out DIR")
    return lists


def judge_lists(
    dataset: Dataset, lists: pl.DataFrame, shop: Shop, advance: Callable[[], None] = lambda: None
) -> Judgement:
    """Play the shoppers of the `lists` again up to their next visit, and judge what each method would show them then.

    `advance` is called after each shopper.

    Raises:
        ArtefactError: the lists are of other data, or the dataset is not what this code and this shop make of its seed.
    """
    users = sorted(lists["user_id"].unique())
    events = dataset.scan_events().filter(pl.col("user_id") <= users[-1])
    late = events.filter(pl.col("user_id").is_in(users) & (pl.col("ts") >= cut_off(dataset.manifest)))
    visit_of = dict(late.group_by("user_id").agg(_VISIT.min()).collect().iter_rows())
    if unknown := set(users) - visit_of.keys():
        raise ArtefactError(f"{dataset.root}: does nothing know of shopper {min(unknown)} after the cut-off")
    last = int(users[-1][1:])
    played = replay(dataset, last, visit_of, shop)
    otherwise = unlike(dataset, played, events.collect(), last)
    moments = {user: moment for user, moment in played.moments.items() if user not in otherwise}
    clicks, means = played.world.clicks, {same(text): query for text, query in played.world.book.by_text.items()}

    def chances(moment: Moment, queries: list[str]) -> list[float | None]:
        known = [(text, means.get(text)) for text in queries[:SUGGESTED]]
        return [
            None if query is None else clicks.attraction(moment.shopper, text, query, moment.ts)
            for text, query in known
        ]

    methods = lists["method"].unique(maintain_order=True).to_list()
    places = {user: place for place, user in enumerate(user for user in users if user in moments)}
    found = np.zeros((len(places), len(methods)))
    shown, strange = np.zeros(len(methods)), np.zeros(len(methods))
    for (user,), rows in lists.filter(pl.col("user_id").is_in(list(places))).group_by("user_id", maintain_order=True):
        for _, method, queries in rows.select(_COLUMNS).iter_rows():
            column, judged = methods.index(method), chances(moments[str(user)], queries)
            found[places[str(user)], column] = sum(chance or 0.0 for chance in judged) / SUGGESTED
            shown[column] += len(judged)
            strange[column] += judged.count(None)
        advance()
    if not places:
        raise ArtefactError(
            f"{dataset.root}: none of the shoppers lives the same life when played again; generate it again"
        )
    resampled = resampled_means(found, dataset.manifest["seed"])
    return Judgement(
        {
            name: Judged(
                float(found[:, n].mean()), *interval(resampled[:, n]), float(strange[n] / shown[n]) if shown[n] else 0.0
            )
            for n, name in enumerate(methods)
        },
        cases=len(places),
        left_out=len(users) - len(places),
    )
