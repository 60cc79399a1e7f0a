"""Which triggers get a list, and what the model is told about each: traffic covered a token, best first.

Traffic of a trigger is how often requests of the past would have looked it up: an item by clicks, carts and purchases;
a category by those of its items; a query by searches and hint clicks; a segment by its shoppers, each of whom comes
without a history once. An item's list and its category's share an act between them, half each.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from service.contracts.errors import ArtefactError
from service.contracts.keys import (
    Trigger,
    category_trigger,
    item_trigger,
    query_trigger,
    segment_trigger,
    trigger_kind,
)
from service.contracts.settings import Settings
from service.contracts.text import normalise
from service.ranking.filter import reject_reason
from workers.common.dataset import Dataset
from workers.common.item_text import MIN_SHOPPERS
from workers.common.learning import anonymity_floor, read_events
from workers.common.prompt import render_x2q_category, render_x2q_item, render_x2q_query, render_x2q_segment, tells
from workers.common.split import part_of

_SHARED: Final = 0.5
_CHARS_A_TOKEN: Final = 4.0


@dataclass(frozen=True, slots=True)
class TriggerPrompt:
    """A trigger and its prompt; `query` is what its list must not repeat; `traffic` as the module says."""

    trigger: Trigger
    prompt: str
    traffic: float = 0.0
    query: str | None = None

    @property
    def excluded(self) -> Sequence[str]:
        """What its list must not repeat."""
        return () if self.query is None else (self.query,)


@dataclass(frozen=True, slots=True)
class Selection:
    """The chosen triggers, best first; the share of all traffic that they cover, by kind and in all."""

    prompts: Sequence[TriggerPrompt]
    covered: Mapping[str, float]


def select(
    dataset: Path, max_items: int, token_budget: int, list_tokens: float, *, learning: bool = False
) -> Selection:
    """Return triggers by traffic a token until `token_budget` is spent, at most `max_items` of items.

    A trigger costs its prompt and a list of `list_tokens`; one of which a prompt tells nothing (a title of symbols, no
    category) is not chosen, though its traffic counts. Shoppers who refused consent are not counted, and a query
    or a segment of fewer than `MIN_SHOPPERS` shoppers is none (k-anonymity: it would become a key that others read).
    With `learning`, only what may be learned is looked at (`workers.common.learning`), under the import's floor too.

    Raises:
        ArtefactError: the dataset has no items.
    """
    path = dataset / "items.parquet"
    if not path.exists():
        raise ArtefactError(f"{path}: missing; a dataset comes from: aigq shop generate, or aigq import")
    items = pl.read_parquet(path, columns=["item_id", "title", "category"]).with_columns(
        pl.col("title", "category").fill_null("")
    )
    profiles = _profiles(dataset)
    floor = MIN_SHOPPERS
    if learning:
        floor, events = anonymity_floor(Dataset(dataset)), read_events(Dataset(dataset))
        profiles = profiles.filter(pl.col("user_id").map_elements(part_of, return_dtype=pl.String) == "train")
    else:
        events = _events(dataset, profiles)
    found = [*_of_items(items, events), *_of_queries(events, floor), *_of_segments(profiles, floor)]

    def worth(one: TriggerPrompt) -> tuple[float, str]:
        return -one.traffic / _tokens(one, list_tokens), one.trigger

    chosen: list[TriggerPrompt] = []
    spent, items_left = 0.0, max_items
    for one in sorted((one for one in found if tells(one.prompt)), key=worth):
        is_item = trigger_kind(one.trigger) == "item"
        if (cost := _tokens(one, list_tokens)) > token_budget - spent or (is_item and not items_left):
            continue
        chosen.append(one)
        spent += cost
        items_left -= is_item
    return Selection(chosen, _covered(chosen, found))


def select_for(dataset: Path, settings: Settings, *, learning: bool) -> Sequence[TriggerPrompt]:
    """Return the triggers that `aigq think publish` chooses; `learning`: had it only what may be learned."""
    think = settings.think
    return select(dataset, think.max_items, think.token_budget, settings.vllm.max_tokens, learning=learning).prompts


def _tokens(one: TriggerPrompt, list_tokens: float) -> float:
    return len(one.prompt) / _CHARS_A_TOKEN + list_tokens


def _covered(chosen: Sequence[TriggerPrompt], found: Sequence[TriggerPrompt]) -> dict[str, float]:
    traffic: dict[str, list[float]] = {}
    for side, some in enumerate((chosen, found)):
        for one in some:
            for kind in (trigger_kind(one.trigger), "all"):
                traffic.setdefault(kind, [0.0, 0.0])[side] += one.traffic
    return {kind: round(got / of, 4) if of else 1.0 for kind, (got, of) in sorted(traffic.items())}


def _profiles(dataset: Path) -> pl.DataFrame:
    """Return user_id, segment and consent; what a dataset lacks is null and true."""
    path, absent = dataset / "profiles.parquet", {"user_id": pl.String, "segment": pl.String, "consent": pl.Boolean}
    profiles = pl.read_parquet(path) if path.exists() else pl.DataFrame(schema=absent)
    missing = [pl.lit(None, kind).alias(name) for name, kind in absent.items() if name not in profiles.columns]
    return profiles.with_columns(missing).select("user_id", "segment", pl.col("consent").fill_null(value=True))


def _events(dataset: Path, profiles: pl.DataFrame) -> pl.DataFrame:
    """Return (user_id, query, item_id) of what shoppers did, queries normalised."""
    refused = profiles.filter(~pl.col("consent"))["user_id"].implode()
    events = (
        pl.scan_parquet(dataset / "events" / "*.parquet")
        .filter(pl.col("type").is_in(["search", "hint_click", "click", "cart", "purchase"]))
        .select("user_id", "query", "item_id")
        .filter(~pl.col("user_id").is_in(refused))
        .collect()
    )
    texts = events["query"].drop_nulls().unique().to_list()
    return events.with_columns(pl.col("query").replace({text: normalise(text) for text in texts}))


def _of_items(items: pl.DataFrame, events: pl.DataFrame) -> Iterator[TriggerPrompt]:
    """Yield items and categories."""
    acts = events.drop_nulls("item_id").group_by("item_id").len("acts")
    counted = items.join(acts, on="item_id", how="left").with_columns(pl.col("acts").fill_null(0))
    for item_id, title, category, count in counted.select("item_id", "title", "category", "acts").iter_rows():
        prompt = render_x2q_item(title, category)
        yield TriggerPrompt(item_trigger(item_id), prompt, count * (_SHARED if category else 1.0))
    for category, count in (
        counted.filter(pl.col("category") != "").group_by("category").agg(pl.sum("acts")).iter_rows()
    ):
        yield TriggerPrompt(category_trigger(category), render_x2q_category(category), count * _SHARED)


def _of_queries(events: pl.DataFrame, floor: int) -> Iterator[TriggerPrompt]:
    counted = (
        events.filter(pl.col("query") != "")
        .group_by("query")
        .agg(pl.len().alias("acts"), pl.col("user_id").n_unique().alias("shoppers"))
        .filter(pl.col("shoppers") >= floor)
    )
    for query, count in counted.select("query", "acts").iter_rows():
        if reject_reason(query) is None:
            yield TriggerPrompt(query_trigger(query), render_x2q_query(query), float(count), query)


def _of_segments(profiles: pl.DataFrame, floor: int) -> Iterator[TriggerPrompt]:
    known = profiles.filter(pl.col("consent") & (pl.col("segment") != ""))
    for segment, count in known.group_by("segment").len("shoppers").iter_rows():
        if count >= floor:
            yield TriggerPrompt(segment_trigger(segment), render_x2q_segment(segment), float(count))
