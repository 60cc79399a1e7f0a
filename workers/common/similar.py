"""Text similarity: known queries that share words with an item or a query, where the logs say nothing of it.

An item that nobody opened yet leads to what shoppers call such things, and a query after which nobody went on searching
to queries like it. What the co-click table knows is left out: there the logs speak. BM25, by `bm25s`.
https://github.com/xhluca/bm25s
"""

import logging
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from typing import Final

import bm25s
import numpy as np
import polars as pl

from service.contracts.keys import Trigger, item_trigger, query_trigger
from service.contracts.text import near_key
from service.ranking.filter import reject_reason
from service.ranking.inverted_index import content_words
from workers.common.item_text import MIN_SHOPPERS

KEPT: Final = 10
"""Queries kept a trigger."""
_POPULARITY: Final = 0.3
"""Power of a query's shoppers by which its likeness is multiplied."""


def similar(
    items: pl.DataFrame, searches: pl.DataFrame, known: Collection[Trigger]
) -> Iterator[tuple[Trigger, list[tuple[str, float]]]]:
    """Yield (trigger, its queries with scores, best first) for the items and queries whose trigger is not in `known`.

    `items`: item_id, title, category; `searches`: user_id, query (normalised). A query of fewer than `MIN_SHOPPERS`
    shoppers is led to by nothing, and leads to nothing (k-anonymity).
    """
    counts = searches.group_by("query").agg(pl.col("user_id").n_unique().alias("shoppers")).sort("query")
    counts = counts.filter(pl.col("shoppers") >= MIN_SHOPPERS)
    queries = [(query, shoppers) for query, shoppers in counts.iter_rows() if reject_reason(query) is None]
    corpus = [sorted(content_words(query)) or [""] for query, _ in queries]
    unknown = [one for one in _about(items, [query for query, _ in queries]) if one[0] not in known]
    if not corpus or not unknown:
        return
    logging.getLogger("bm25s").setLevel(logging.WARNING)  # its import sets DEBUG
    index = bm25s.BM25()
    index.index(corpus, show_progress=False)
    vocabulary = frozenset(word for words in corpus for word in words)
    factor = np.array([shoppers for _, shoppers in queries], dtype=np.float32) ** _POPULARITY
    alike = [near_key(query) for query, _ in queries]
    for trigger, text, itself in unknown:
        words = sorted(content_words(text) & vocabulary)
        if not words:
            continue
        scores = index.get_scores(words) * factor
        places = np.flatnonzero(scores > 0)
        best = (place for place in places[np.argsort(-scores[places], kind="stable")] if alike[place] != itself)
        found = [(queries[place][0], round(float(scores[place]), 4)) for place in islice(best, KEPT)]
        if found:
            yield trigger, found


def _about(items: pl.DataFrame, queries: Sequence[str]) -> Iterator[tuple[Trigger, str, str | None]]:
    """Yield each trigger, its words, and the near key of what it need not lead to: itself."""
    for item_id, title, category in items.select("item_id", "title", "category").iter_rows():
        yield item_trigger(item_id), f"{title} {category or ''}", None
    for query in queries:
        yield query_trigger(query), query, near_key(query)
