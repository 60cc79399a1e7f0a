"""Which categories are consumable: those in which shoppers buy again. Catalogues seldom say; logs do."""

from typing import Final

import polars as pl

from workers.common.item_text import MIN_SHOPPERS

LEAST_SHARE: Final = 0.01
"""Of the shoppers who bought in a category, those who did so again in the time of the logs. Low: who buys a second sofa
within a month is one in thousands, and most repurchases happen elsewhere, or after the logs end."""
_DAY_S: Final = 86400.0


def consumable(events: pl.DataFrame, items: pl.DataFrame) -> list[str]:
    """Return the categories in which enough buyers bought again, a day later or more.

    Enough are `LEAST_SHARE` of them, and at least `MIN_SHOPPERS`. `events`: user_id, ts (epoch seconds), type, item_id.
    `items`: item_id, category.
    """
    bought = events.filter(pl.col("type") == "purchase").join(
        items.select("item_id", "category").drop_nulls(), on="item_id"
    )
    spans = bought.group_by("user_id", "category").agg((pl.col("ts").max() - pl.col("ts").min()).alias("span"))
    again = spans.group_by("category").agg((pl.col("span") >= _DAY_S).sum().alias("again"), pl.len().alias("buyers"))
    found = again.filter((pl.col("again") >= MIN_SHOPPERS) & (pl.col("again") >= LEAST_SHARE * pl.col("buyers")))
    return sorted(found["category"])
