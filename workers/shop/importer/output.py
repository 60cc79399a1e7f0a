"""One dataset in the making: sorted events go in, and what its manifest says of them comes out."""

import math
from collections import Counter
from datetime import UTC, datetime
from typing import Any, Final

import polars as pl

from service.contracts.text import normalise
from workers.common.dataset import DatasetWriter
from workers.shop.importer.checks import distinct_map
from workers.shop.importer.events import ITEM_TYPES
from workers.shop.importer.spill import to_arrow

ROWS_PER_GROUP: Final = 100_000
ROWS_PER_PART: Final = 1_000_000
_QUERIES_HELD: Final = 500_000


class Output:
    """Writes events bucket by bucket and counts them; memory holds a row group and the distinct queries."""

    def __init__(self, writer: DatasetWriter, known_items: pl.Series) -> None:
        """`known_items` are the catalogue's ids."""
        self._writer = writer
        self._known_items = known_items
        self._held: list[pl.DataFrame] = []
        self._held_rows = 0
        self._part = 0
        self._part_rows = 0
        self._queries: list[pl.DataFrame] = []
        self.types: Counter[str] = Counter()
        self.shoppers = 0
        self.item_events = 0
        self.item_events_known = 0
        self.first = math.inf
        self.last = -math.inf

    @property
    def events(self) -> int:
        """Events taken so far."""
        return self.types.total()

    def add(self, events: pl.DataFrame) -> None:
        """Take the events of whole shoppers, sorted by shopper and time."""
        if events.is_empty():
            return
        self._count(events)
        self._held.append(events)
        self._held_rows += events.height
        if self._held_rows >= ROWS_PER_GROUP:
            self.flush()

    def flush(self) -> None:
        """Write what is held; a part is full only between shoppers."""
        if not self._held:
            return
        held = pl.concat(self._held)
        for rows in held.iter_slices(ROWS_PER_GROUP):
            self._writer.write_events(self._part, to_arrow(rows))
        self._part_rows += held.height
        self._held, self._held_rows = [], 0
        if self._part_rows >= ROWS_PER_PART:
            self._part, self._part_rows = self._part + 1, 0

    def _count(self, events: pl.DataFrame) -> None:
        self.types.update(dict(events.group_by("type").len().iter_rows()))
        self.shoppers += events["user_id"].n_unique()
        on_items = events.filter(pl.col("type").is_in(ITEM_TYPES))["item_id"]
        self.item_events += len(on_items)
        self.item_events_known += int(on_items.is_in(self._known_items.implode()).sum())
        first, last = events.select(pl.col("ts").min().alias("first"), pl.col("ts").max().alias("last")).row(0)
        self.first, self.last = min(self.first, first), max(self.last, last)
        searches = events.filter(pl.col("type") == "search").select("user_id", "query")
        self._queries.append(
            searches.with_columns(distinct_map(searches["query"], normalise))
            .group_by("query")
            .agg(pl.col("user_id").n_unique().alias("shoppers"), pl.len().alias("searches"))
        )
        if sum(frame.height for frame in self._queries) > _QUERIES_HELD:
            self._queries = [self._query_counts()]

    def _query_counts(self) -> pl.DataFrame:
        """Return each query's number of shoppers and searches; no shopper is in two buckets, so sums are right."""
        return pl.concat(self._queries).group_by("query").agg(pl.col("shoppers", "searches").sum())

    def summary(self, min_shoppers: int) -> dict[str, Any]:
        """Return the manifest's figures of the events; `from` is included, `to` is not."""
        counts = self._query_counts()
        below = counts.filter(pl.col("shoppers") < min_shoppers)
        return {
            "from": datetime.fromtimestamp(math.floor(self.first), UTC).isoformat(),
            "to": datetime.fromtimestamp(math.floor(self.last) + 1, UTC).isoformat(),
            "shoppers": self.shoppers,
            "types": dict(sorted(self.types.items())),
            "item_events_in_catalogue": round(self.item_events_known / max(1, self.item_events), 4),
            # A rarer query stays in its own shopper's history, and is no label, candidate or word for others.
            "k_anonymity": {
                "min_shoppers": min_shoppers,
                "queries": counts.height,
                "queries_below": below.height,
                "searches_below": int(below["searches"].sum()),
            },
            "lost": self.lost(),
        }

    def lost(self) -> list[str]:
        """Return what cannot be done with these events, and why."""
        lost = []
        if not self.types["search"]:
            lost.append("no searches: nothing to train on; map them, or use pseudo_query")
        if not self.types["hint_exposure"]:
            lost.append(
                "no hint_exposure: labels come from searches alone (clicked hints, which would come first, are "
                "missing), no CTR ranker can be trained, and fatigue is unknown"
            )
        if not self.types["hint_served"]:
            lost.append("no hint_served: no propensities, so no off-policy evaluation and no examination by position")
        if not self.item_events:
            lost.append("no click, cart or purchase: item and category triggers learn nothing")
        return lost
