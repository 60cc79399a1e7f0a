"""Cases: what shoppers did before the cut-off, and the next searches after it that suggestions should foresee.

Methods learn from shoppers of the part `train` before the cut-off, are tuned on `validation` and reported on `test`.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Final, NamedTuple

import polars as pl

from service.contracts.codecs import QUERY_TYPES
from service.contracts.errors import ArtefactError
from service.contracts.text import normalise
from service.ranking.filter import reject_reason
from workers.common.dataset import EVENTS, MANIFEST, Dataset
from workers.common.item_text import MIN_SHOPPERS
from workers.common.prompt import BEHAVIOUR
from workers.common.split import Part, cut_off, part_of

AHEAD: Final = 3
"""A hit is one of this many searches after the cut-off."""
VALIDATION_CASES: Final = 2000


class Act(NamedTuple):
    """One thing that a shopper did; `ref` is the normalised query of a search or hint click, else the item id."""

    type: str
    ts: float
    ref: str


@dataclass(frozen=True)
class Shopper:
    """A shopper as known at the cut-off: `history` is in time order and ends before it."""

    user_id: str
    profile: Mapping[str, str]
    history: Sequence[Act]

    @cached_property
    def searched(self) -> Mapping[str, None]:
        """The distinct queries that the shopper asked before the cut-off, newest first."""
        return dict.fromkeys(act.ref for act in reversed(self.history) if act.type in QUERY_TYPES)


@dataclass(frozen=True)
class Case(Shopper):
    """A shopper who searched after the cut-off; `targets` are the next `AHEAD` searches, distinct, in order."""

    targets: Sequence[str] = ()

    @cached_property
    def novel_targets(self) -> Sequence[str]:
        """The targets that the shopper had not searched before: only these can be hit by served hints."""
        return [query for query in self.targets if query not in self.searched]


class Item(NamedTuple):
    """A product; `category` is a path "A > B > C", empty where unknown."""

    title: str
    category: str
    brand: str
    price: float | None = None


@dataclass(frozen=True)
class Split:
    """A dataset cut into what is learned from (`learners`), tuned on and reported on; `now` is the cut-off."""

    now: float
    learners: Sequence[Shopper]
    validation: Sequence[Case]
    test: Sequence[Case]
    items: Mapping[str, Item]
    available: Mapping[Part, int] = field(default_factory=dict)
    """Cases in the dataset, before sampling, by part."""

    @cached_property
    def queries(self) -> Mapping[str, int]:
        """What may be suggested to others: queries that enough learners searched, with their number, most first."""
        counts: Counter[str] = Counter()
        for shopper in self.learners:
            counts.update({act.ref for act in shopper.history if act.type == "search"})
        ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
        return {query: count for query, count in ranked if count >= MIN_SHOPPERS and reject_reason(query) is None}

    @cached_property
    def searches(self) -> Counter[str]:
        """The number of times that each query was searched by learners."""
        return Counter(act.ref for shopper in self.learners for act in shopper.history if act.type == "search")


def read_split(dataset: Dataset, *, cases: int, learners: int) -> Split:
    """Return the split with at most `cases` test cases and `learners` learners, the first by a hash of the user id.

    Raises:
        ArtefactError: the dataset is empty, or has nothing to learn from or nobody to report on.
    """
    now = _cut_off(dataset)
    refused = _without_consent(dataset)
    searchers, users = _users(dataset, now)
    by_part: dict[Part, list[str]] = {"train": [], "judge": [], "validation": [], "test": []}
    for user in sorted(users - refused, key=_place):
        part = part_of(user)
        if part == "train" or user in searchers:
            by_part[part].append(user)
    most: dict[Part, int] = {"train": learners, "validation": VALIDATION_CASES, "test": cases}
    chosen = {part: by_part[part][:limit] for part, limit in most.items()}
    acts = _acts(dataset, {user for some in chosen.values() for user in some}, now)
    profiles = dataset.profile_texts()
    known = [Shopper(user, profiles.get(user, {}), acts[user][0]) for user in chosen["train"] if user in acts]
    found = Split(
        now=now,
        learners=[shopper for shopper in known if shopper.history],
        validation=_cases(chosen["validation"], acts, profiles),
        test=_cases(chosen["test"], acts, profiles),
        items=_items(dataset),
        available={part: len(by_part[part]) for part in by_part},
    )
    if not found.queries:
        raise ArtefactError(
            f"{dataset.root / EVENTS}: before the cut-off, no query was searched by {MIN_SHOPPERS} shoppers of the "
            "part train or more, so there is nothing to learn; use logs of more shoppers or of a longer time"
        )
    if not found.test:
        raise ArtefactError(
            f"{dataset.root / EVENTS}: no shopper of the part test searches in the last part of the period, so there "
            "is nothing to report on; use logs of more shoppers or of a longer time"
        )
    return found


def _cut_off(dataset: Dataset) -> float:
    if not dataset.manifest.get("events", 1):
        raise ArtefactError(f"{dataset.root / MANIFEST}: the dataset is empty (no events); generate or import it again")
    try:
        return cut_off(dataset.manifest)
    except (KeyError, TypeError, ValueError):
        raise ArtefactError(
            f"{dataset.root / MANIFEST}: does not say when the logs begin and end (from, to); import the data again"
        ) from None


def _place(user_id: str) -> bytes:
    return hashlib.blake2b(f"evaluate:{user_id}".encode(), digest_size=8).digest()


def _users(dataset: Dataset, now: float) -> tuple[set[str], set[str]]:
    """Return the shoppers who search from `now` on, and all who did anything."""
    late = ((pl.col("type") == "search") & (pl.col("ts") >= now)).any()
    found = dataset.scan_events().group_by("user_id").agg(late.alias("late")).collect()
    if found.is_empty():
        raise ArtefactError(f"{dataset.root / EVENTS}: has no events; generate or import the dataset again")
    return set(found.filter("late")["user_id"]), set(found["user_id"])


def _acts(dataset: Dataset, users: set[str], now: float) -> dict[str, tuple[list[Act], list[str]]]:
    """Return by shopper the acts before `now`, and the first `AHEAD` searches from then on (normalised)."""
    events = (
        dataset.scan_events()
        .filter(
            pl.col("user_id").is_in(users)
            & pl.col("type").is_in(list(BEHAVIOUR))
            & ((pl.col("ts") < now) | (pl.col("type") == "search"))
        )
        .select("user_id", "ts", "type", pl.coalesce("query", "item_id").alias("ref"))
        .sort("user_id", "ts", maintain_order=True)
        .collect()
    )
    same = {text: normalise(text) for text in events.filter(pl.col("type").is_in(list(QUERY_TYPES)))["ref"].unique()
            if text is not None}  # fmt: skip
    found: dict[str, tuple[list[Act], list[str]]] = {}
    for user, ts, kind, ref in events.iter_rows():
        text = same.get(ref, "") if kind in QUERY_TYPES else ref
        before, after = found.setdefault(user, ([], []))
        if not text:
            continue
        if ts < now:
            before.append(Act(kind, ts, text))
        elif len(after) < AHEAD:
            after.append(text)
    return found


def _cases(
    users: Sequence[str], acts: Mapping[str, tuple[list[Act], list[str]]], profiles: Mapping[str, Mapping[str, str]]
) -> list[Case]:
    return [
        Case(user, profiles.get(user, {}), acts[user][0], tuple(dict.fromkeys(acts[user][1])))
        for user in users
        if user in acts and acts[user][1]
    ]


def _without_consent(dataset: Dataset) -> set[str]:
    profiles = dataset.profiles()
    return set(profiles.filter(~pl.col("consent"))["user_id"]) if "consent" in profiles.columns else set()


def _items(dataset: Dataset) -> dict[str, Item]:
    items = dataset.items()
    for name in ("category", "brand"):
        if name not in items.columns:
            items = items.with_columns(pl.lit(None, pl.String).alias(name))
    if "price" not in items.columns:
        items = items.with_columns(pl.lit(None, pl.Float64).alias("price"))
    rows = items.select("item_id", "title", "category", "brand", "price").iter_rows()
    return {item_id: Item(title, category or "", brand or "", price) for item_id, title, category, brand, price in rows}


def triggers(shopper: Shopper, limit: int) -> Iterator[str]:
    """Yield the shopper's latest distinct acts as triggers (a query, or `item:` and an id), newest first."""
    return islice(dict.fromkeys(trigger(act) for act in reversed(shopper.history)), limit)


def trigger(act: Act) -> str:
    """Return what an act is known by: the query, or `item:` and the item's id."""
    return act.ref if act.type in QUERY_TYPES else f"item:{act.ref}"
