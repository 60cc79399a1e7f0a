"""Sample shoppers for the demo: real-looking histories out of the sample shop's logs, moved to now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from service.contracts.errors import ArtefactError
from workers.common.dataset import Dataset

BEHAVIOUR = ("search", "click", "cart", "purchase", "hint_click")
MIN_EVENTS = 5
MAX_EVENTS = 14
_MIN_SEARCHES = 2
_MAX_AGE_S = 25 * 86400.0
_PAUSE_S = 300.0


@dataclass(frozen=True, slots=True)
class SampleShopper:
    """A shopper: `history` ends some minutes ago; `click` is what they do next, in front of our eyes."""

    user_id: str
    profile: Mapping[str, str]
    history: Sequence[dict[str, Any]]
    click: dict[str, Any]


def choose(dataset: Path, count: int, now: float) -> list[SampleShopper]:
    """Return `count` shoppers of the dataset, in id order, whose history has searches and ends with a click.

    Raises:
        ArtefactError: the dataset has fewer such shoppers.
    """
    columns = ["user_id", "ts", "type", "query", "item_id"]
    events = (
        Dataset(dataset)
        .scan_events()
        .select(columns)
        .filter(pl.col("type").is_in(BEHAVIOUR))
        .sort("user_id", "ts", maintain_order=True)
        .collect()
    )
    profiles = {row.pop("user_id"): row for row in Dataset(dataset).profiles().iter_rows(named=True)}
    chosen: list[SampleShopper] = []
    for (user_id,), group in events.group_by("user_id", maintain_order=True):
        rows = group.to_dicts()
        last_click = next((i for i in range(len(rows) - 1, -1, -1) if rows[i]["type"] == "click"), 0)
        told = rows[: last_click + 1][-MAX_EVENTS:]
        searches = sum(row["type"] == "search" for row in told)
        profile = profiles.get(user_id, {})
        if len(told) < MIN_EVENTS or searches < _MIN_SEARCHES or profile.get("consent") is False:
            continue
        fields = {name: value for name, value in profile.items() if isinstance(value, str)}
        chosen.append(_shift(str(user_id), fields, told, now))
        if len(chosen) == count:
            return chosen
    raise ArtefactError(f"{dataset}: only {len(chosen)} of {count} shoppers have a history to show; generate more")


def _shift(user_id: str, fields: Mapping[str, str], rows: list[dict[str, Any]], now: float) -> SampleShopper:
    """Move a history so that it ended a pause ago; drop what is then older than the service takes."""
    shift = now - _PAUSE_S - rows[-2]["ts"]
    history = [
        event for row in rows[:-1] if (event := _event(user_id, row, row["ts"] + shift))["ts"] > now - _MAX_AGE_S
    ]
    click = _event(user_id, rows[-1], now)
    del click["ts"]  # now, by the service's clock
    return SampleShopper(user_id, fields, history, click)


def _event(user_id: str, row: Mapping[str, Any], ts: float) -> dict[str, Any]:
    # A hint click of the log belongs to a request that was never made here; it tells the same as a search.
    kind = "search" if row["type"] == "hint_click" else row["type"]
    reference = {"query": row["query"]} if kind == "search" else {"item_id": row["item_id"]}
    return {"user_id": user_id, "ts": round(ts, 3), "type": kind, **reference}
