"""Exposures: what was served, seen and clicked, and what was known of the shopper at that moment.

Seen is joined to served by request id and position; the query, the propensity and the shopper are the server's, since
a client may claim anything.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import polars as pl

from service.contracts.codecs import QUERY_TYPES, BehaviourEntry
from service.contracts.errors import ArtefactError, TooLittleData
from service.contracts.text import normalise
from service.ranking.catalogue import Item
from service.ranking.features import MAX_ENTRIES
from service.ranking.shopper_context import ShopperContext
from workers.common.dataset import EVENTS, MANIFEST, Dataset
from workers.common.prompt import BEHAVIOUR
from workers.common.served import SLOT, clicks_borne_out, served_slots
from workers.common.split import cut_off, part_of

EXPLORED_BELOW: Final = 0.5
"""A slot of lower propensity shows what exploration drew, not what the policy holds best."""


class Log(NamedTuple):
    """A dataset as the CTR ranker reads it; shoppers without consent are left out.

    `acts`: user_id, ts, type, query (normalised), item_id, by shopper in time order.
    `slots`: one row a seen slot: user_id, request_id, ts, position, query (normalised), propensity, clicked_at (null
    if it was not), explored, part; by shopper, request in time order, and position.
    `unmatched`: exposures and clicks that no served line bears out.
    """

    acts: pl.DataFrame
    slots: pl.DataFrame
    profiles: pl.DataFrame
    items: pl.DataFrame
    unmatched: int


@dataclass(frozen=True, slots=True)
class Moment:
    """One request: the shopper then, and what was seen; `rows` are those of `Log.slots`."""

    user_id: str
    context: ShopperContext
    queries: Sequence[str]
    rows: slice


def learned_until(dataset: Dataset) -> float:
    """Return the cut-off of a dataset, in epoch seconds.

    Raises:
        ArtefactError: the manifest does not say when the logs begin and end, as that of an empty dataset.
    """
    try:
        return cut_off(dataset.manifest)
    except (KeyError, TypeError, ValueError):
        raise ArtefactError(
            f"{dataset.root / MANIFEST}: does not say when the logs begin and end (no events?); import the data again"
        ) from None


def read_log(dataset: Dataset, max_requests: int = 1 << 62) -> Log:
    """Return the log; of more than `max_requests` requests, those of a sample of shoppers, by hash.

    Raises:
        TooLittleData: nothing was exposed, or no exposure belongs to a served list.
    """
    profiles = dataset.profiles()
    refused = (
        profiles.filter(~pl.col("consent"))["user_id"] if "consent" in profiles.columns else pl.Series(dtype=pl.String)
    )
    events = dataset.scan_events().filter(~pl.col("user_id").is_in(refused.implode()))
    slots, unmatched = _slots(events, dataset)
    slots = _sample(slots, max_requests)
    acts = (
        clicks_borne_out(events)
        .filter(pl.col("type").is_in(list(BEHAVIOUR)))
        .select("user_id", "ts", "type", "query", "item_id")
        .sort("user_id", "ts", maintain_order=True)
        .collect()
    )
    texts = [name for name, kind in profiles.schema.items() if kind == pl.String]
    return Log(_normal(acts), slots, profiles.select(texts), _items(dataset), unmatched)


def _slots(events: pl.LazyFrame, dataset: Dataset) -> tuple[pl.DataFrame, int]:
    seen = (
        events.filter(pl.col("type").is_in(["hint_exposure", "hint_click"]))
        .with_columns(clicked_at=pl.when(pl.col("type") == "hint_click").then("ts"))
        .group_by(SLOT)
        .agg(pl.col("clicked_at").min())
        .collect()
    )
    path = dataset.root / EVENTS
    if seen.is_empty():
        raise TooLittleData(
            f"{path}: has no hint exposures, so no CTR ranker can be trained; the rest works without one"
        )
    slots = served_slots(events).join(seen, on=SLOT).sort("user_id", "ts", "request_id", "position")
    if slots.is_empty():
        raise TooLittleData(
            f"{path}: none of {seen.height} exposures has the request id, shopper and position of a hint_served line; "
            "log what the server served too"
        )
    parts = {user: part_of(user) for user in slots["user_id"].unique()}
    slots = _normal(slots).with_columns(
        explored=(pl.col("propensity") < EXPLORED_BELOW).fill_null(value=False),
        part=pl.col("user_id").replace_strict(parts, return_dtype=pl.String),
    )
    return slots, seen.height - slots.height


def _sample(slots: pl.DataFrame, max_requests: int) -> pl.DataFrame:
    requests = slots["request_id"].n_unique()
    if requests <= max_requests:
        return slots
    users = slots["user_id"].unique().sort()
    kept = [user for user in users if _place(user) < max_requests / requests]
    return slots.filter(pl.col("user_id").is_in(pl.Series(kept, dtype=pl.String).implode()))


def _place(user_id: str) -> float:
    digest = hashlib.blake2b(f"exposures:{user_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def _normal(frame: pl.DataFrame) -> pl.DataFrame:
    same = {query: normalise(query) for query in frame["query"].drop_nulls().unique()}
    return frame.with_columns(pl.col("query").replace(same))


def _items(dataset: Dataset) -> pl.DataFrame:
    items = dataset.items()
    missing = {"category": pl.String, "brand": pl.String, "price": pl.Float64}
    items = items.with_columns(
        pl.lit(None, kind).alias(name) for name, kind in missing.items() if name not in items.columns
    )
    return items.select("item_id", "title", "category", "brand", "price")


def moments(log: Log) -> Iterator[Moment]:
    """Yield the requests of `log.slots` in order, each with what was known just before it."""
    items = {row[0]: Item(row[0], row[1], row[2] or "", row[3]) for row in log.items.drop("brand").iter_rows()}
    profiles = {
        row.pop("user_id"): {name: value for name, value in row.items() if value}
        for row in log.profiles.iter_rows(named=True)
    }
    users = log.slots.select("user_id").unique()
    acts: dict[str, list[BehaviourEntry]] = {}
    for user, ts, kind, query, item_id in log.acts.join(users, on="user_id", how="semi").iter_rows():
        ref = query if kind in QUERY_TYPES else item_id
        if ref:
            acts.setdefault(user, []).append(BehaviourEntry(kind, ts, ref))
    requests = log.slots.group_by("user_id", "request_id", maintain_order=True).agg(pl.col("ts").first(), "query")
    walk, last, start = _Walk(()), "", 0
    for user, _, ts, queries in requests.iter_rows():
        if user != last:
            walk, last = _Walk(acts.get(user, ())), user
        entries, shown = walk.until(ts, queries)
        named = {entry.ref: items[entry.ref] for entry in entries if entry.ref in items}
        context = ShopperContext(ts, entries, profiles.get(user, {}), named, shown)
        yield Moment(user, context, queries, slice(start, start + len(queries)))
        start += len(queries)


class _Walk:
    """Goes through one shopper's time."""

    def __init__(self, acts: Sequence[BehaviourEntry]) -> None:
        self._acts, self._done = acts, 0
        self._shown: dict[str, int] = {}

    def until(self, ts: float, queries: Sequence[str]) -> tuple[list[BehaviourEntry], Mapping[str, int]]:
        """Return the newest actions before `ts`, newest first, and how often `queries` were shown before."""
        while self._done < len(self._acts) and self._acts[self._done].ts < ts:
            if self._acts[self._done].type in QUERY_TYPES:
                self._shown.pop(self._acts[self._done].ref, None)
            self._done += 1
        shown = {query: self._shown.get(query, 0) for query in queries}
        for query in queries:
            self._shown[query] = shown[query] + 1
        return list(reversed(self._acts[max(0, self._done - MAX_ENTRIES) : self._done])), shown
