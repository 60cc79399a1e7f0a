"""Slots that the server says it served: what a client claims of hints is joined to them, and counts no further."""

from typing import Final

import polars as pl

SLOT: Final = ("user_id", "request_id", "position")
"""What names a slot, in served lines as in exposures and clicks."""


def served_slots(events: pl.LazyFrame) -> pl.DataFrame:
    """Return the slots of the `hint_served` lines of a log: `SLOT`, ts, query (as logged), propensity (or null)."""
    return (
        events.filter((pl.col("type") == "hint_served") & (pl.col("queries").list.len() > 0))
        .with_columns(propensity=_propensity(), position=pl.int_ranges(0, pl.col("queries").list.len(), dtype=pl.Int16))
        .unique("request_id", keep="first", maintain_order=True)
        .select(*SLOT, "ts", "propensity", query="queries")
        .explode("query", "propensity", "position")
        .collect()
    )


def _propensity() -> pl.Expr:
    """Return the logged propensities; a list of another length than the queries says nothing."""
    known = pl.col("propensity").list.len() == pl.col("queries").list.len()
    nothing = pl.lit(None, pl.Float64).repeat_by(pl.col("queries").list.len())
    return pl.when(known).then("propensity").otherwise(nothing)


def clicks_borne_out(events: pl.LazyFrame) -> pl.LazyFrame:
    """Return events without the `hint_click`s of slots that were never served; a click's query is the served one.

    Logs without a single `hint_served` line keep their clicks as they are.
    """
    served = served_slots(events).select(*SLOT, served="query")
    if served.is_empty():
        return events
    clicked = pl.col("type") == "hint_click"
    return (
        events.join(served.lazy(), on=SLOT, how="left", maintain_order="left")
        .filter(~clicked | pl.col("served").is_not_null())
        .with_columns(query=pl.when(clicked).then("served").otherwise("query"))
        .drop("served")
    )
