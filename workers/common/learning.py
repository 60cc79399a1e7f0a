"""The behaviour that may be learned from: of the right shoppers, before the cut-off, none of who refused consent."""

import math
from collections.abc import Sequence

import polars as pl

from service.contracts.errors import ArtefactError
from service.contracts.text import normalise
from workers.common.dataset import Dataset
from workers.common.item_text import MIN_SHOPPERS
from workers.common.prompt import BEHAVIOUR
from workers.common.served import clicks_borne_out
from workers.common.split import Part, cut_off, part_of


def anonymity_floor(dataset: Dataset, at_least: int = MIN_SHOPPERS) -> int:
    """Return how many shoppers must have searched a query before others hear of it: the import's floor, if higher."""
    return max(at_least, int(dataset.manifest.get("k_anonymity", {}).get("min_shoppers", 1)))


def read_events(dataset: Dataset, parts: Sequence[Part] = ("train",)) -> pl.DataFrame:
    """Return the behaviour of the shoppers of `parts`, in shopper and time order, with `query` normalised.

    Clicks on hints are those that the server's lines bear out (`clicks_borne_out`).

    Raises:
        ArtefactError: nobody of them searched before the cut-off.
    """
    events = _behaviour(dataset, cut_off(dataset.manifest))
    users = [user for user in events["user_id"].unique().to_list() if part_of(user) in parts]
    return _with_searches(
        events.filter(pl.col("user_id").is_in(users)),
        f"{dataset.root}: nobody of {'/'.join(parts)} searched before the cut-off",
    )


def read_all_events(dataset: Dataset) -> pl.DataFrame:
    """Return the same of everybody who consented, until the last day: to serve from, for no model to learn from.

    Raises:
        ArtefactError: nobody searched.
    """
    return _with_searches(_behaviour(dataset, math.inf), f"{dataset.root}: nobody searched")


def _with_searches(events: pl.DataFrame, otherwise: str) -> pl.DataFrame:
    """Return `events`, if there is a search among them."""
    if events["query"].is_null().all():
        raise ArtefactError(
            f"{otherwise}, so there is nothing to learn; use logs of a longer period or of more shoppers"
        )
    return events


def _behaviour(dataset: Dataset, until: float) -> pl.DataFrame:
    refused = dataset.profiles().filter(~pl.col("consent"))["user_id"]
    events = (
        clicks_borne_out(dataset.scan_events())
        .select("user_id", "ts", "type", "query", "item_id")
        .filter(pl.col("type").is_in(list(BEHAVIOUR)), pl.col("ts") < until)
        .filter(~pl.col("user_id").is_in(refused.implode()))
        .sort("user_id", "ts", maintain_order=True)
        .collect()
    )
    texts = events["query"].drop_nulls().unique().to_list()
    return events.with_columns(pl.col("query").replace({text: normalise(text) for text in texts}))
