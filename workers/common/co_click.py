"""Co-click: what shoppers searched after a query, an item or a category. The classic recall, counted from logs.

Each act speaks for the next few different searches, the nearer the more; a shopper counts once a pair. A query that
fewer than `MIN_SHOPPERS` searched is led to by nothing (k-anonymity).
"""

from typing import Final

import polars as pl

from service.ranking.filter import reject_reason
from workers.common.item_text import MIN_SHOPPERS

_SUPPORT: Final = 2
"""Shoppers that a pair needs."""
KEPT: Final = 24
"""Queries kept a trigger."""
_AHEAD: Final = 5
_FADE: Final = 0.8
"""Weight of each further search."""
_WITHIN_S: Final = 2 * 86400.0
_DAMPING: Final = 3.0
"""Added to a trigger's total, so that a trigger seen rarely does not speak with certainty."""
LIFT: Final = 0.15
"""How much what is searched everywhere is held back."""


def co_click(events: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    """Return (trigger, query, score): at most `KEPT` a trigger, best first. Triggers as in `service.contracts.keys`.

    `events`: user_id, ts (epoch seconds), query (normalised) or item_id, in time order within a shopper.
    `items`: item_id, category.
    """
    acts = events.with_columns(
        pl.col("query").is_not_null().cum_sum().over("user_id").cast(pl.Int64).alias("upto")  # searches so far
    )
    searches = acts.filter(pl.col("query").is_not_null()).select(
        "user_id", (pl.col("upto") - 1).alias("place"), pl.col("query").alias("next"), pl.col("ts").alias("at")
    )
    triggers = _triggers(acts, items)
    pairs = pl.concat([_followed(triggers, searches, ahead) for ahead in range(_AHEAD)])
    once = pairs.group_by("user_id", "trigger", "next").agg(pl.col("weight").max())
    totals = once.group_by("trigger").agg(pl.col("weight").sum().alias("total"))
    popularity = searches.group_by("next").agg(pl.col("user_id").n_unique().alias("shoppers"))
    popularity = popularity.filter(pl.col("shoppers") >= MIN_SHOPPERS)
    shown = [query for query in popularity["next"] if reject_reason(query) is None]
    return (
        once.group_by("trigger", "next")
        .agg(pl.col("weight").sum(), pl.len().alias("support"))
        .filter((pl.col("support") >= _SUPPORT) & pl.col("next").is_in(shown))
        .join(totals, on="trigger")
        .join(popularity, on="next")
        .select(
            "trigger",
            pl.col("next").alias("query"),
            (pl.col("weight") / (pl.col("total") + _DAMPING) / pl.col("shoppers") ** LIFT).round(5).alias("score"),
        )
        .sort(["trigger", "score", "query"], descending=[False, True, False])
        .group_by("trigger", maintain_order=True)
        .head(KEPT)
    )


def _triggers(acts: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    """Return (user_id, ts, upto, query, trigger): an act about an item is one of its category too."""
    kept = ("user_id", "ts", "upto", "query", "trigger")
    queries = acts.filter(pl.col("query").is_not_null()).with_columns(trigger="query:" + pl.col("query")).select(kept)
    opened = acts.filter(pl.col("item_id").is_not_null())
    by_item = opened.with_columns(trigger="item:" + pl.col("item_id")).select(kept)
    known = items.select("item_id", "category").drop_nulls()
    by_category = opened.join(known, on="item_id").with_columns(trigger="category:" + pl.col("category")).select(kept)
    return pl.concat([queries, by_item, by_category])


def _followed(triggers: pl.DataFrame, searches: pl.DataFrame, ahead: int) -> pl.DataFrame:
    """Return (user_id, trigger, next, weight): the search that came `ahead` searches after the next one."""
    return (
        triggers.with_columns((pl.col("upto") + ahead).alias("place"))
        .join(searches, on=["user_id", "place"])
        .filter((pl.col("at") - pl.col("ts") <= _WITHIN_S) & pl.col("next").ne_missing(pl.col("query")))
        .select("user_id", "trigger", "next", pl.lit(_FADE**ahead).alias("weight"))
    )
