"""Logs of purchases without searches: what is bought next stands for what would have been searched.

A pseudo-query is not a query that anybody typed. Its events have an `event_id` that begins with "pseudo-query-", and
the manifest counts them.
"""

from typing import Final

import polars as pl

from service.contracts.text import MAX_QUERY_CHARS
from workers.shop.importer.events import SCHEMA

PREFIX: Final = "pseudo-query-"
_BEFORE_S: Final = 60.0
"""How long before the basket its pseudo-queries are put."""


def leaves(items: pl.DataFrame) -> pl.DataFrame:
    """Return (item_id, query) of items: the last level of the category, in lower case."""
    leaf = pl.col("category").str.split(" > ").list.last().str.to_lowercase()
    named = items.select("item_id", leaf.alias("query")).drop_nulls()
    return named.filter(pl.col("query").str.len_chars() <= MAX_QUERY_CHARS)


def with_pseudo_queries(events: pl.DataFrame, leaf_of: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Return events with a search for each distinct leaf category of each basket, and the number of these.

    A basket is a shopper's purchases of one moment; the searches are put a minute before it, in the basket's order.
    """
    bought = events.filter(pl.col("type") == "purchase").select("user_id", "ts", "item_id")
    wanted = (
        bought.join(leaf_of, on="item_id", how="inner", maintain_order="left")
        .unique(["user_id", "ts", "query"], keep="first", maintain_order=True)
        .with_columns((pl.col("ts") - _BEFORE_S).clip(lower_bound=0))
        .with_columns(pl.int_range(pl.len()).over("user_id").alias("number"))
    )
    searches = wanted.select(
        "user_id",
        "ts",
        pl.lit("search").alias("type"),
        "query",
        pl.format("{}{}", pl.lit(PREFIX), "number").alias("event_id"),
    )
    return pl.concat([searches, events.select(list(SCHEMA))], how="diagonal").select(list(SCHEMA)), searches.height
