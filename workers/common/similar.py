"""Text similarity: known queries that share words with an item, where the logs say nothing of it (BM25, by `bm25s`).

An item that nobody opened yet leads to what shoppers call such things. Items that the co-click table knows are left
out: there the logs speak. https://github.com/xhluca/bm25s
"""

import logging
from collections.abc import Collection, Iterator
from typing import Final

import bm25s
import numpy as np
import polars as pl

from service.contracts.keys import Trigger, item_trigger
from service.ranking.filter import reject_reason
from service.ranking.inverted_index import content_words
from workers.common.item_text import MIN_SHOPPERS

KEPT: Final = 10
"""Queries kept an item."""
_POPULARITY: Final = 0.3
"""Power of a query's shoppers by which its likeness is multiplied."""


def similar(
    items: pl.DataFrame, searches: pl.DataFrame, known: Collection[Trigger]
) -> Iterator[tuple[Trigger, list[tuple[str, float]]]]:
    """Yield (trigger, its queries with scores, best first) for the items whose trigger is not in `known`.

    `items`: item_id, title, category; `searches`: user_id, query (normalised). A query of fewer than `MIN_SHOPPERS`
    shoppers is led to by nothing (k-anonymity).
    """
    counts = searches.group_by("query").agg(pl.col("user_id").n_unique().alias("shoppers")).sort("query")
    counts = counts.filter(pl.col("shoppers") >= MIN_SHOPPERS)
    queries = [(query, shoppers) for query, shoppers in counts.iter_rows() if reject_reason(query) is None]
    corpus = [sorted(content_words(query)) or [""] for query, _ in queries]
    unknown = items.filter(~pl.concat_str(pl.lit(item_trigger("")), "item_id").is_in(list(known)))
    if not corpus or unknown.is_empty():
        return
    logging.getLogger("bm25s").setLevel(logging.WARNING)  # its import sets DEBUG
    index = bm25s.BM25()
    index.index(corpus, show_progress=False)
    vocabulary = frozenset(word for words in corpus for word in words)
    factor = np.array([shoppers for _, shoppers in queries], dtype=np.float32) ** _POPULARITY
    for item_id, title, category in unknown.select("item_id", "title", "category").iter_rows():
        words = sorted(content_words(f"{title} {category or ''}") & vocabulary)
        if not words:
            continue
        scores = index.get_scores(words) * factor
        best = np.argsort(-scores, kind="stable")[:KEPT]
        found = [(queries[place][0], round(float(scores[place]), 4)) for place in best if scores[place] > 0]
        if found:
            yield item_trigger(item_id), found
