"""From logs to (prompt, completion) rows, for both tasks of the model.

u2q: what a shopper did until a moment -> what they searched next, filled up with what others search after the same.
x2q: an item or a category -> what shoppers search after it and before it.
Only shoppers and days that training may see; a query of fewer than `min_shoppers` shoppers is never a label.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from service.contracts.errors import ArtefactError
from service.contracts.text import near_key, normalise
from service.ranking.filter import reject_reason
from workers.common.dataset import Dataset
from workers.common.prompt import Action, render_list, render_u2q, render_x2q_category, render_x2q_item
from workers.training.recipe import DataRecipe

LIST_SIZE = 10
_DAY = 86400.0
_BEHAVIOUR = ("search", "click", "cart", "purchase", "hint_click")
_NEAR = 3
_FILL_ACTIONS = 5
_TOP = 24
_POPULARITY_POWER = 0.75
_PURCHASE_WEIGHT = 3.0
_MIN_SUPPORT = 3
_SOON_SHARE = 0.6
_POPULAR_HEAD = 60


Counts = defaultdict[tuple[str, str], float]
"""Weights of (trigger, query) pairs."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One training row."""

    prompt: str
    completion: str


def held_out(user_id: str, share: float) -> bool:
    """Whether a shopper is never trained on: by hash, so the same in every run and every tool."""
    digest = hashlib.blake2b(f"split:{user_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64 < share


def cut_off(manifest: Mapping[str, Any], recipe: DataRecipe) -> float:
    """Return the moment (epoch seconds) from which on nothing is trained on."""
    return datetime.fromisoformat(manifest["to"]).timestamp() - recipe.held_out_days * _DAY


def read_events(dataset: Dataset) -> pl.DataFrame:
    """Return behaviour events in shopper and time order, with `query` normalised.

    Raises:
        ArtefactError: the dataset has no searches.
    """
    events = (
        dataset.scan_events()
        .select("user_id", "ts", "type", "query", "item_id")
        .filter(pl.col("type").is_in(_BEHAVIOUR))
        .sort("user_id", "ts", maintain_order=True)
        .collect()
    )
    queries = events["query"].drop_nulls().unique().to_list()
    if not queries:
        raise ArtefactError(f"{dataset.root}: has no searches, so there is nothing to learn")
    normal = {query: normalise(query) for query in queries}
    return events.with_columns(pl.col("query").replace(normal))


class NextQueries:
    """What others search after a query, and after or before an item.

    Lift-weighted, so that the popular does not swamp; what one or two shoppers did is chance, and left out.
    """

    def __init__(self, events: pl.DataFrame, categories: Mapping[str, str], min_shoppers: int) -> None:
        """Count over `events`; `categories` maps item id to path."""
        searches = events.filter(pl.col("query").is_not_null())
        counts = searches.group_by("query").agg(pl.col("user_id").n_unique().alias("shoppers"))
        known = counts.filter(pl.col("shoppers") >= min_shoppers)
        self.popularity: dict[str, int] = {
            query: shoppers
            for query, shoppers in known.sort(["shoppers", "query"], descending=[True, False]).iter_rows()
            if reject_reason(query) is None
        }
        self.popular = list(self.popularity)[:200]
        after: Counts = defaultdict(float)
        before: Counts = defaultdict(float)
        support: Counter[tuple[str, str]] = Counter()
        for rows in _by_shopper(events):
            after_one: Counts = defaultdict(float)
            before_one: Counts = defaultdict(float)
            self._count(rows, categories, after_one, before_one)
            for table, one in ((after, after_one), (before, before_one)):
                for pair, weight in one.items():
                    table[pair] += weight
            support.update(after_one.keys() | before_one.keys())
        self.after = self._top(after, support)
        self.before = self._top(before, support)

    def _count(
        self,
        rows: Sequence[tuple[Any, ...]],
        categories: Mapping[str, str],
        after: Counts,
        before: Counts,
    ) -> None:
        """Count one shopper's (trigger, query) pairs."""
        recent: list[tuple[str, float, float]] = []  # (key, ts, weight) of what came just before
        last_query = ""
        for _, ts, kind, query, item_id in rows:
            if query is not None:
                if query in self.popularity:
                    for key, then, weight in recent[-_NEAR * 2 :]:
                        if ts - then < 2 * _DAY and key != query:
                            after[key, query] += weight
                recent.append((query, ts, 1.0))
                last_query = query
                continue
            weight = _PURCHASE_WEIGHT if kind == "purchase" else 1.0
            for key in (f"item:{item_id}", f"category:{categories.get(item_id, '')}"):
                recent.append((key, ts, weight))
                if last_query in self.popularity:
                    before[key, last_query] += 1.0

    def _top(
        self, counts: Mapping[tuple[str, str], float], support: Mapping[tuple[str, str], int]
    ) -> dict[str, list[tuple[str, float]]]:
        scored: defaultdict[str, list[tuple[str, float]]] = defaultdict(list)
        for (key, query), count in counts.items():
            if support[key, query] >= _MIN_SUPPORT:
                scored[key].append((query, count / self.popularity[query] ** _POPULARITY_POWER))
        return {key: sorted(pairs, key=lambda pair: (-pair[1], pair[0]))[:_TOP] for key, pairs in scored.items()}

    def fill(self, actions: Sequence[tuple[str, str]], categories: Mapping[str, str]) -> list[str]:
        """Return candidates for a shopper whose latest (type, ref) actions are given, newest last, best first."""
        scores: defaultdict[str, float] = defaultdict(float)
        for distance, (kind, ref) in enumerate(reversed(actions[-_FILL_ACTIONS:])):
            keys = [ref] if kind in {"search", "hint_click"} else [f"item:{ref}", f"category:{categories.get(ref, '')}"]
            for key in keys:
                for query, score in self.after.get(key, ()):
                    scores[query] += score * 0.8**distance
        return [query for query, _ in sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))]


def _by_shopper(events: pl.DataFrame) -> Iterator[list[tuple[Any, ...]]]:
    rows: list[tuple[Any, ...]] = []
    for row in events.iter_rows():
        if rows and rows[-1][0] != row[0]:
            yield rows
            rows = []
        rows.append(row)
    if rows:
        yield rows


def distinct(queries: Sequence[str], exclude: Sequence[str] = ()) -> list[str]:
    """Return the first `LIST_SIZE` queries, no two alike, none like one in `exclude`."""
    seen = {near_key(query) for query in exclude}
    chosen: list[str] = []
    for query in queries:
        key = near_key(query)
        if key not in seen:
            seen.add(key)
            chosen.append(query)
            if len(chosen) == LIST_SIZE:
                break
    return chosen


def build(dataset: Dataset, recipe: DataRecipe, seed: int, progress: Callable[[int], None]) -> list[Sample]:
    """Return all samples, shuffled by `seed`; `progress` hears of shoppers done.

    Raises:
        ArtefactError: the dataset gives no sample.
    """
    end = cut_off(dataset.manifest, recipe)
    events = read_events(dataset).filter(pl.col("ts") < end)
    profiles: dict[str, dict[str, str]] = {}
    refused = set()
    for row in dataset.profiles().iter_rows(named=True):
        user_id = row.pop("user_id")
        profiles[user_id] = {name: value for name, value in row.items() if isinstance(value, str)}
        if row.get("consent") is False:
            refused.add(user_id)
    users = events["user_id"].unique(maintain_order=True).to_list()
    kept = [user for user in users if user not in refused and not held_out(user, recipe.held_out_share)]
    events = events.filter(pl.col("user_id").is_in(kept))
    items = dataset.items().select("item_id", "title", "category")
    titles = dict(items.select("item_id", "title").iter_rows())
    categories = dict(items.select("item_id", pl.col("category").fill_null("")).iter_rows())
    nexts = NextQueries(events, categories, recipe.min_shoppers)
    rng = np.random.default_rng(seed)
    samples = list(x2q_samples(items, nexts))
    for rows in _by_shopper(events):
        samples.extend(u2q_samples(rows, profiles.get(rows[0][0], {}), titles, categories, nexts, recipe, rng))
        progress(1)
    if not samples:
        raise ArtefactError(f"{dataset.root}: gives no training sample before its cut-off; use a longer period of logs")
    return [samples[index] for index in rng.permutation(len(samples))]


def u2q_samples(
    rows: Sequence[tuple[Any, ...]],
    profile: Mapping[str, str],
    titles: Mapping[str, str],
    categories: Mapping[str, str],
    nexts: NextQueries,
    recipe: DataRecipe,
    rng: np.random.Generator,
) -> Iterator[Sample]:
    """Yield a shopper's samples: cuts at drawn places, one of them with little or no history."""
    places = set(rng.integers(0, len(rows) + 1, recipe.cuts_per_shopper - 1).tolist()) | {int(rng.integers(0, 3))}
    for place in sorted(place for place in places if place <= len(rows)):
        history = rows[:place]
        last = history[-1][1] if history else rows[0][1]
        gap = rows[place][1] - last if place < len(rows) else _DAY
        # Right after the last action, or just before the next: as old as histories are when hints are wanted.
        soon = float(rng.choice((1.0, 60.0, 3600.0, _DAY))) * float(rng.uniform(0.5, 2.0))
        now = last + (min(gap, soon) if rng.random() < _SOON_SHARE else gap)
        future = [row for row in rows[place:] if row[1] < last + recipe.label_window_days * _DAY]
        known = [row[3] for row in history if row[3] is not None][-20:]
        coming = [row[3] for row in future if row[3] in nexts.popularity]
        actions = [(row[2], row[3] if row[3] is not None else row[4]) for row in history]
        head = nexts.popular[:_POPULAR_HEAD]
        drawn = [head[int(i)] for i in rng.integers(0, len(head), 4)] if not history and head else []
        label = distinct([*coming, *nexts.fill(actions, categories), *drawn], known)
        if not coming or not label:
            continue
        told = [
            Action(row[2], row[1], row[3] if row[3] is not None else titles.get(row[4], ""))
            for index, row in enumerate(history)
            if index >= place - 3 or rng.random() >= recipe.history_dropout
        ]
        yield Sample(render_u2q(told, profile, now), render_list(label))


def x2q_samples(items: pl.DataFrame, nexts: NextQueries) -> Iterator[Sample]:
    """Yield a sample for each item and category that shoppers came from or went on from."""
    for item_id, title, category in items.iter_rows():
        label = _trigger_label(f"item:{item_id}", f"category:{category}", nexts)
        if label:
            yield Sample(render_x2q_item(title, category or ""), render_list(label))
    for category in items["category"].drop_nulls().unique().sort().to_list():
        label = _trigger_label(f"category:{category}", "", nexts)
        if label:
            # Few categories, many items: told several times, so that they are learned too.
            yield from [Sample(render_x2q_category(category), render_list(label))] * 4


def _trigger_label(key: str, wider: str, nexts: NextQueries) -> list[str]:
    after = [query for query, _ in (*nexts.after.get(key, ())[:8], *nexts.after.get(wider, ()))]
    before = [query for query, _ in nexts.before.get(key, ())]
    mixed: list[str] = []
    for index in range(max(len(after), len(before))):
        mixed.extend(before[index : index + 1])
        mixed.extend(after[index : index + 1])
    return distinct(mixed)
