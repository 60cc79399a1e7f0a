"""Item-to-text: a few words that stand for an item in a prompt, instead of its title.

The words are the query that most tellingly led shoppers to the item: what people call it, in a third of the tokens, and
in the very words that the model is to write.
"""

import polars as pl

from workers.common.prompt import leaf

MIN_SHOPPERS = 3
"""k-anonymity: a query that fewer shoppers searched is nobody else's business."""
_MIN_SUPPORT = 2
_COMMON_POWER = 0.4
"""How much a common query is held back, so that "acme speed rope" wins over "rope" where both led to the item."""
_SESSION_S = 1800.0
"""A pause so long ends a session: what is opened after it was not led to by the query before it."""
MAX_WORDS = 8


def surrogates(events: pl.DataFrame, items: pl.DataFrame) -> dict[str, str]:
    """Return item id -> words, for all `items` (item_id, title, category, brand).

    `events` has user_id, ts, type, query (normalised) and item_id, in time order within a shopper. Items that nobody
    opened after a known query are told by brand and category, those without a category by their title.
    """
    return {
        row[0]: _plain(*row[1:]) for row in items.select("item_id", "title", "category", "brand").iter_rows()
    } | dict(_led_by(events).iter_rows())


def _plain(title: str, category: str | None, brand: str | None) -> str:
    return f"{brand or ''} {leaf(category)}".strip() if category else title


def led(events: pl.DataFrame) -> pl.DataFrame:
    """Return (item_id, query, support): the shoppers who opened the item after the query, in the same session."""
    return (
        events.with_columns(pl.when(pl.col("query").is_not_null()).then("ts").alias("asked"))
        .with_columns(pl.col("query", "asked").forward_fill().over("user_id"))
        .filter((pl.col("type") == "click") & (pl.col("ts") - pl.col("asked") <= _SESSION_S))
        .group_by("item_id", "query")
        .agg(pl.col("user_id").n_unique().alias("support"))
    )


def texts(items: pl.DataFrame, events: pl.DataFrame) -> list[str]:
    """Return what is said of each item: title, category, brand, and the queries from which enough shoppers opened it.

    The last part lets a synonym find what it led to ("kitty litter"), though no title has its words.
    """
    told = (
        led(events)
        .filter(pl.col("support") >= MIN_SHOPPERS)
        .sort("item_id", "query")
        .group_by("item_id")
        .agg(pl.col("query").str.join(" ").alias("led"))
    )
    said = items.select("item_id", "title", "category", "brand").join(told, on="item_id", how="left")
    return [" ".join(filter(None, row)) for row in said.sort("item_id").select(pl.exclude("item_id")).iter_rows()]


def _led_by(events: pl.DataFrame) -> pl.DataFrame:
    """Return (item_id, query): the query that most tellingly led shoppers to the item."""
    shoppers = (
        events.filter(pl.col("query").is_not_null())
        .group_by("query")
        .agg(pl.col("user_id").n_unique().alias("shoppers"))
        .filter((pl.col("shoppers") >= MIN_SHOPPERS) & (pl.col("query").str.count_matches(" ") < MAX_WORDS))
    )
    return (
        led(events)
        .filter(pl.col("support") >= _MIN_SUPPORT)
        .join(shoppers, on="query")
        .with_columns((pl.col("support") / pl.col("shoppers") ** _COMMON_POWER).alias("score"))
        .sort(["item_id", "score", "query"], descending=[False, True, False])
        .unique("item_id", keep="first", maintain_order=True)
        .select("item_id", "query")
    )
