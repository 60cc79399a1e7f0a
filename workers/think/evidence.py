"""What the logs say of a trigger: all that a teacher is told, and from which the knowledge-based one answers.

From the events that it is given, of learners or of everybody (`workers.common.learning`); queries and links of fewer
shoppers than the k-anonymity floor are left out, since a teacher may be somebody else's computer.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from service.contracts.keys import Trigger, category_trigger, item_trigger, segment_trigger
from service.ranking.filter import reject_reason
from service.ranking.inverted_index import InvertedIndex
from workers.common.co_click import LIFT, co_click
from workers.common.item_text import led
from workers.common.prompt import parent

_DAY_S: Final = 86400.0
_WITHIN_DAYS: Final = 2
_PRIOR: Final = 20.0
"""Shoppers added to a category's own, who behave as is usual: what few did lifts little, and has a small share."""
_MIN_LIFT: Final = 1.25
_LINKS: Final = 6
_QUERIES: Final = 24
_BEFORE: Final = 6
_TOP: Final = 10
_DAMPING: Final = 3.0
"""As in `workers.common.co_click`, so that scores can be compared."""
_HELD_BACK: Final = 0.4
"""How much what is searched everywhere is held back: more than in co-click, which stands beside these lists."""
_WIDER: Final = 0.5
"""What is known of an item's category, against what is known of the item."""
_ITEM_TYPES: Final = ("click", "cart", "purchase")
_QUERY_TYPES: Final = ("search", "hint_click")

Scored = Sequence[tuple[str, float]]
"""Queries and how much speaks for each, best first."""


@dataclass(frozen=True, slots=True)
class Link:
    """A category that comes with another one: `shoppers` went on to it, `lift` times as many as is usual.

    `share`: of all steps from there to another category, and a few that went nowhere.
    """

    category: str
    shoppers: int
    lift: float
    share: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the logs say of a trigger; `category` is a path, empty where none is known.

    `beside`: other categories of its parent, the most searched first, whoever goes there.
    """

    kind: str
    subject: str
    category: str
    before: Scored
    after: Scored
    bought: Sequence[Link]
    following: Sequence[Link]
    beside: Sequence[str] = ()

    @property
    def says(self) -> bool:
        """Whether there is anything to answer from."""
        return bool(self.before or self.after or self.bought or self.following or self.beside)


class Logs:
    """The logs, counted once. `top`: a category's queries by their share in it; `category_of` speaks of known ones."""

    def __init__(
        self, events: pl.DataFrame, items: pl.DataFrame, segments: pl.DataFrame, index: InvertedIndex, floor: int
    ) -> None:
        """Count `events` (`read_events`); `segments` are (user_id, segment); `index` is of items, with categories."""
        self._floor = floor
        self._items = {
            item_id: (title or "", category or "")
            for item_id, title, category in items.select("item_id", "title", "category").iter_rows()
        }
        searched = events.filter(pl.col("type").is_in(_QUERY_TYPES)).select("user_id", "query").unique()
        counts = searched["query"].value_counts(sort=False).filter(pl.col("count") >= floor).sort("query")
        self.shoppers = {query: count for query, count in counts.iter_rows() if reject_reason(query) is None}
        pairs = led(events).filter(pl.col("query").is_in(list(self.shoppers)))
        pairs = pairs.join(items.select("item_id", "category"), on="item_id")
        self.category_of: Mapping[str, str] = {
            **{query: index.label(query) or "" for query in self.shoppers},  # by words, where nobody clicked
            **_most(pairs.drop_nulls().filter(pl.col("category") != "")),
        }
        after = co_click(events, items).filter(pl.col("query").is_in(list(self.shoppers)))
        self._after = _by_key(after.select("trigger", "query", self._held_back(pl.col("score"), _HELD_BACK - LIFT)))
        self._before = self._led(pairs)
        acts = self._acts(events, items)
        self._following = self._links(acts, range(_WITHIN_DAYS + 1))
        self._bought = self._links(acts.filter(pl.col("type") == "purchase"), [0], basket=True)
        self.top = self._top()
        self._shelves = self._by_parent()
        self._after |= self._of_segments(searched.join(segments.drop_nulls(), on="user_id"))

    def evidence(self, trigger: Trigger) -> Evidence:
        """Return what is known of a trigger."""
        kind, _, name = trigger.partition(":")
        subject, category = name, ""
        if kind == "item":
            subject, category = self._items.get(name, ("", ""))
        elif kind == "category":
            category = name
        elif kind == "query":
            category = self.category_of.get(name, "")
        wider = category_trigger(category) if category else ""
        keys = {trigger: 1.0, **({wider: _WIDER} if wider and wider != trigger and kind == "item" else {})}
        return Evidence(
            kind,
            subject,
            category,
            _sum((self._before.get(key, ()), weight) for key, weight in keys.items())[:_BEFORE],
            _sum((self._after.get(key, ()), weight) for key, weight in keys.items())[:_QUERIES],
            self._bought.get(category, ()),
            self._following.get(category, ()),
            [other for other in self._shelves.get(parent(category), ()) if other != category][:_LINKS],
        )

    def _led(self, pairs: pl.DataFrame) -> dict[str, Scored]:
        """Return, by item and by category, the queries that led there; `pairs` as `led` gives them, with categories."""
        of_item = pairs.select(key=item_trigger("") + pl.col("item_id"), query="query", support="support")
        of_category = pairs.drop_nulls().select(
            key=category_trigger("") + pl.col("category"), query="query", support="support"
        )
        summed = pl.concat([of_item, of_category]).group_by("key", "query").agg(pl.col("support").sum())
        summed = summed.filter(pl.col("support") >= self._floor)
        totals = pl.col("support").sum().over("key") + _DAMPING
        return _by_key(summed.select("key", "query", self._held_back(pl.col("support") / totals)))

    def _held_back(self, share: pl.Expr, power: float = _HELD_BACK) -> pl.Expr:
        popularity = pl.col("query").replace_strict(self.shoppers, return_dtype=pl.Float64)
        return (share / popularity**power).alias("score")

    def _acts(self, events: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
        """Return (user_id, ts, day, type, category) of what shoppers looked for, and looked at."""
        of_items = events.filter(pl.col("type").is_in(_ITEM_TYPES)).join(
            items.select("item_id", "category").drop_nulls(), on="item_id"
        )
        found = pl.col("query").replace_strict(self.category_of, default="", return_dtype=pl.String)
        of_queries = events.filter(pl.col("type").is_in(_QUERY_TYPES)).with_columns(category=found)
        both = [some.select("user_id", "ts", "type", "category") for some in (of_items, of_queries)]
        return (
            pl.concat(both).filter(pl.col("category") != "").with_columns(day=(pl.col("ts") // _DAY_S).cast(pl.Int64))
        )

    def _links(self, acts: pl.DataFrame, days: Iterable[int], *, basket: bool = False) -> dict[str, Sequence[Link]]:
        """Return by category where its shoppers go on to, `days` later; in a `basket`, whatever came first.

        A shopper counts once a pair.
        """
        first = acts.group_by("user_id", "category", "day").agg(pl.col("ts").min())
        last = acts.group_by("user_id", other="category", day="day").agg(later=pl.col("ts").max())
        steps = pl.concat(
            first.join(last.with_columns(pl.col("day") - days_on), on=["user_id", "day"]) for days_on in days
        )
        in_order = pl.lit(basket) | (pl.col("later") >= pl.col("ts"))
        pairs = steps.filter((pl.col("category") != pl.col("other")) & in_order)
        pairs = pairs.select("user_id", "category", "other").unique()
        of_category = dict(acts.select("user_id", "category").unique()["category"].value_counts().iter_rows())
        usual = dict(pairs["other"].value_counts().iter_rows())
        everyone = sum(of_category.values())
        counted = pairs.group_by("category", "other").len("shoppers")
        total = pl.col("shoppers").sum().over("category") + _PRIOR
        counted = counted.with_columns(share=pl.col("shoppers") / total)
        links: dict[str, list[Link]] = {}
        for category, other, shoppers, share in counted.filter(pl.col("shoppers") >= self._floor).iter_rows():
            chance = usual[other] / everyone
            lift = (shoppers + _PRIOR * chance) / (of_category[category] + _PRIOR) / chance
            if lift >= _MIN_LIFT:
                links.setdefault(category, []).append(Link(other, shoppers, round(lift, 2), round(share, 4)))
        return {
            category: sorted(found, key=lambda link: (-link.shoppers * (link.lift - 1), link.category))[:_LINKS]
            for category, found in links.items()
        }

    def _top(self) -> dict[str, Scored]:
        rows: dict[str, list[tuple[str, float]]] = {}
        for query, category in self.category_of.items():
            rows.setdefault(category, []).append((query, float(self.shoppers[query])))
        rows.pop("", None)
        return {
            category: [
                (query, count / sum(other for _, other in found) / count**_HELD_BACK)
                for query, count in sorted(found, key=lambda row: (-row[1], row[0]))[:_TOP]
            ]
            for category, found in rows.items()
        }

    def _by_parent(self) -> dict[str, list[str]]:
        """Return by parent its categories that are searched, the most searched first."""
        searched: Counter[str] = Counter()
        for query, category in self.category_of.items():
            searched[category] += self.shoppers[query]
        shelves: dict[str, list[str]] = {}
        for category in sorted(searched, key=lambda one: (-searched[one], one)):
            if above := parent(category):
                shelves.setdefault(above, []).append(category)
        return shelves

    def _of_segments(self, searched: pl.DataFrame) -> dict[str, Scored]:
        """Return by segment what its shoppers search."""
        known = searched.filter(pl.col("query").is_in(list(self.shoppers)))
        totals = pl.col("user_id").n_unique().over("segment") + _DAMPING
        counted = (
            known.with_columns(total=totals)
            .group_by("segment", "query")
            .agg(pl.len().alias("shoppers"), pl.col("total").first())
            .filter(pl.col("shoppers") >= self._floor)
        )
        keyed = counted.with_columns(key=segment_trigger("") + pl.col("segment"))
        return _by_key(keyed.select("key", "query", self._held_back(pl.col("shoppers") / pl.col("total"))))


def _by_key(rows: pl.DataFrame) -> dict[str, Scored]:
    """Return (key, query, score) rows by key, best first."""
    key, query, score = rows.columns
    found: dict[str, list[tuple[str, float]]] = {}
    for name, text, value in rows.sort([key, score, query], descending=[False, True, False]).iter_rows():
        found.setdefault(name, []).append((text, value))
    return {name: some[:_QUERIES] for name, some in found.items()}


def _most(pairs: pl.DataFrame) -> dict[str, str]:
    """Return by query the category in which most clicks after it were."""
    counted = pairs.group_by("query", "category").agg(pl.col("support").sum())
    best = counted.sort(["query", "support", "category"], descending=[False, True, False])
    return dict(best.unique("query", keep="first", maintain_order=True).select("query", "category").iter_rows())


def _sum(parts: Iterable[tuple[Scored, float]]) -> Scored:
    total: dict[str, float] = {}
    for rows, weight in parts:
        for query, score in rows:
            total[query] = total.get(query, 0.0) + weight * score
    return sorted(total.items(), key=lambda row: (-row[1], row[0]))
