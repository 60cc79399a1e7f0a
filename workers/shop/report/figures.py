"""What a log analyst would check: numbers of a dataset's logs, each with the data of its plot."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from workers.shop.report.cases import COLD_ACTS, same

ACTS: Final = ("search", "click", "cart", "purchase", "hint_click")
SLOPE_FROM_RANK: Final = 10
SLOPE_TO_SEARCHES: Final = 5
"""The slope is fitted from this rank to the last query searched so often: the tail beyond is steps."""
_HEAD = 25
_GAP_BINS = np.logspace(0, 6.5, 66)
_HOUR_S = 3600.0
_SEVERAL = 2
_FEW = 5
"""Shoppers with fewer clicks on items have no entropy to speak of."""
Floats = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Figures:
    """Numbers of the logs. Shares are in [0, 1], times in seconds, entropy in bits."""

    events: int
    shoppers: int
    searches: int
    distinct_queries: int
    once_share: float
    """Distinct queries that occur once."""
    head_share: float
    """Searches that ask one of the 25 most frequent queries."""
    zipf_slope: float
    sessions: int
    """Sessions with an act."""
    queries_per_session: float
    one_query_sessions: float
    acts_per_session: float
    acts_per_session_median: float
    session_acts: Floats
    gap_bins: Floats
    gap_counts: Floats
    gaps_under_hour: float
    median_gap_s: float
    repeat_share: float
    repeat_in_other_session: float
    ctr_by_position: Floats
    cold_share: float
    entropy_bits: float
    entropies: Floats
    item_acts: float
    """Clicks, carts and purchases a shopper, of shoppers with two or more."""
    carts_per_click: float
    purchases_per_click: float
    frequencies: Floats
    """Searches of each distinct query, most first."""


def measure(events: pl.DataFrame, items: pl.DataFrame, shoppers: int) -> Figures:
    """Return the figures of some shoppers' events; `shoppers` counts those without events too."""
    searches = events.filter(pl.col("type") == "search").select("user_id", "ts", "query", "session_id")
    distinct = searches.select("query").unique()
    known = distinct.with_columns(pl.col("query").map_elements(same, return_dtype=pl.String).alias("same"))
    searches = searches.join(known, on="query", how="left", maintain_order="left")
    frequencies = searches.group_by("same").len().sort("len", "same", descending=[True, False])["len"].to_numpy()
    acts = events.filter(pl.col("type").is_in(ACTS)).select("user_id", "ts", "type", "item_id", "session_id")
    per_session = searches.group_by("session_id").len()["len"]
    acts_per_session = acts.group_by("session_id").len()["len"]
    gaps = acts.with_columns(pl.col("ts").diff().over("user_id").alias("gap"))["gap"].drop_nulls().to_numpy()
    first = searches.with_columns(
        pl.int_range(pl.len()).over("user_id", "same").alias("before"),
        (pl.col("session_id") != pl.col("session_id").first().over("user_id", "same")).alias("elsewhere"),
    )
    item_acts = acts.filter(pl.col("item_id").is_not_null()).group_by("user_id").len()["len"]
    counts = dict(acts.group_by("type").len().iter_rows())
    active = acts.group_by("user_id").len().filter(pl.col("len") > COLD_ACTS).height
    entropies = _entropies(acts, items)
    return Figures(
        events=events.height,
        shoppers=shoppers,
        searches=searches.height,
        distinct_queries=len(frequencies),
        once_share=_share(float((frequencies == 1).sum()), len(frequencies)),
        head_share=_share(float(frequencies[:_HEAD].sum()), searches.height),
        zipf_slope=slope(frequencies),
        sessions=acts_per_session.len(),
        queries_per_session=_mean(per_session),
        one_query_sessions=_share(float((per_session == 1).sum()), per_session.len()),
        acts_per_session=_mean(acts_per_session),
        acts_per_session_median=_median(acts_per_session),
        session_acts=tuple(np.bincount(acts_per_session.to_numpy()).astype(float)),
        gap_bins=tuple(_GAP_BINS),
        gap_counts=tuple(np.histogram(gaps, _GAP_BINS)[0].astype(float)),
        gaps_under_hour=_share(float((gaps < _HOUR_S).sum()), len(gaps)),
        median_gap_s=float(np.median(gaps)) if len(gaps) else math.nan,
        repeat_share=_share(float((first["before"] > 0).sum()), searches.height),
        repeat_in_other_session=_share(float(first["elsewhere"].sum()), searches.height),
        ctr_by_position=_ctr(events),
        cold_share=1 - _share(active, shoppers),
        entropy_bits=float(np.mean(entropies)) if len(entropies) else math.nan,
        entropies=tuple(entropies),
        item_acts=_mean(item_acts.filter(item_acts >= _SEVERAL)),
        carts_per_click=_share(counts.get("cart", 0), counts.get("click", 0)),
        purchases_per_click=_share(counts.get("purchase", 0), counts.get("click", 0)),
        frequencies=tuple(frequencies.astype(float)),
    )


def slope(frequencies: np.ndarray) -> float:
    """Return the slope of log frequency over log rank, fitted on ranks evenly spaced in the logarithm.

    NaN where there are too few queries.
    """
    low, high = SLOPE_FROM_RANK, int((frequencies >= SLOPE_TO_SEARCHES).sum())
    if high <= low:
        return math.nan
    ranks = np.unique(np.logspace(math.log10(low), math.log10(high), 50).astype(int))
    return float(np.polyfit(np.log(ranks), np.log(frequencies[ranks - 1]), 1)[0])


def _ctr(events: pl.DataFrame) -> Floats:
    hints = events.filter(pl.col("type").is_in(["hint_exposure", "hint_click"]))
    by_slot = hints.group_by("position").agg(
        (pl.col("type") == "hint_exposure").sum().alias("shown"),
        (pl.col("type") == "hint_click").sum().alias("clicked"),
    )
    return tuple(_share(clicked, shown) for _, shown, clicked in by_slot.sort("position").iter_rows())


def _entropies(acts: pl.DataFrame, items: pl.DataFrame) -> np.ndarray:
    """Return the entropy (bits) of the leaf categories of each shopper's clicks, for shoppers with enough of them."""
    clicks = acts.filter(pl.col("type") == "click").join(items.select("item_id", "category"), on="item_id")
    counts = clicks.group_by("user_id", "category").len()
    share = pl.col("len") / pl.col("len").sum().over("user_id")
    return (
        counts.filter(pl.col("len").sum().over("user_id") >= _FEW)
        .with_columns((-share * share.log(2)).alias("bits"))
        .group_by("user_id")
        .agg(pl.col("bits").sum())
        .sort("user_id")["bits"]
        .to_numpy()
    )


def _share(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def _mean(values: pl.Series) -> float:
    return float(np.mean(values.to_numpy())) if values.len() else math.nan


def _median(values: pl.Series) -> float:
    return float(np.median(values.to_numpy())) if values.len() else math.nan
