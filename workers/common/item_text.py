"""Item-to-text: a few words that stand for an item in a prompt, instead of its title.

The words are the query that most tellingly led shoppers to the item: what people call it, in a third of the tokens, and
in the very words that the model is to write. Where the logs know none, a model's words stand in, if it was asked
(`workers.item_text`), else a rule.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import orjson
import polars as pl

from service.contracts.errors import ArtefactError
from workers.common.prompt import leaf

MIN_SHOPPERS = 3
"""k-anonymity: a query that fewer shoppers searched is nobody else's business."""
_MIN_SUPPORT = 2
_COMMON_POWER = 0.4
"""How much a common query is held back, so that "acme speed rope" wins over "rope" where both led to the item."""
_SESSION_S = 1800.0
"""A pause so long ends a session: what is opened after it was not led to by the query before it."""
MAX_WORDS = 8
FILE = "item_texts.parquet"
"""Under the artefacts' root: a model's words (null: none fitted) by `content` and by what they were `made_from`."""
SCHEMA = {"content": pl.String, "made_from": pl.String, "words": pl.String}
_CONTENT = ("title", "category", "brand", "attributes")


def surrogates(events: pl.DataFrame, items: pl.DataFrame, written: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return item id -> words, for all `items` (item_id, title, category, brand).

    `events` has user_id, ts, type, query (normalised) and item_id, in time order within a shopper. Items that nobody
    opened after a known query are told by what a model has `written` for their content (`read_written`), else by brand
    and category, those without a category by their title.
    """
    rows = items.select("item_id", "title", "category", "brand").iter_rows()
    words = {item_id: plain(title, category, brand) for item_id, title, category, brand in rows}
    if written:
        known = zip(items["item_id"], contents(items), strict=True)
        words |= {item_id: written[content] for item_id, content in known if content in written}
    return words | dict(led_by(events).iter_rows())


def contents(items: pl.DataFrame) -> list[str]:
    """Return a digest of what each item is: title, category, brand, attributes; a changed item is another."""
    there = [name if name in items.columns else pl.lit(None, pl.String).alias(name) for name in _CONTENT]
    return [hashlib.blake2b(orjson.dumps(row), digest_size=16).hexdigest() for row in items.select(there).iter_rows()]


def read_texts(path: Path) -> pl.DataFrame:
    """Return the file that `aigq item-text build` wrote; empty if there is none.

    Raises:
        ArtefactError: it cannot be read.
    """
    if not path.exists():
        return pl.DataFrame(schema=SCHEMA)
    try:
        return pl.read_parquet(path, columns=list(SCHEMA))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ArtefactError(f"{path}: cannot be read ({error}); delete it and run: aigq item-text build") from error


def read_written(path: Path) -> dict[str, str]:
    """Return content -> a model's words, from that file."""
    return dict(read_texts(path).select("content", "words").drop_nulls().iter_rows())


def plain(title: str, category: str | None, brand: str | None) -> str:
    """Return what an item is called by rule, without logs or a model."""
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


def led_by(events: pl.DataFrame) -> pl.DataFrame:
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
