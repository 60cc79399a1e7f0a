"""Stage 1: from logs to shoppers' histories, and to the moments in them from which a list of hints is learned.

Only shoppers and days that training may see (`workers.common.split`), and no shopper who refused consent.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import numpy as np
import polars as pl

from workers.common.dataset import Dataset
from workers.common.split import cut_off

DAY_S = 86400.0
_SOON_SHARE = 0.6


class Act(NamedTuple):
    """One thing a shopper did at `ts` (epoch seconds): `query` is normalised, or None where it was about `item_id`."""

    ts: float
    type: str
    query: str | None
    item_id: str | None


@dataclass(frozen=True, slots=True)
class History:
    """All that a shopper did before the cut-off, oldest first."""

    user_id: str
    profile: Mapping[str, str]
    acts: Sequence[Act]


@dataclass(frozen=True, slots=True)
class Moment:
    """A place in a history: `before` is known at `now` (epoch seconds), `after` is what came within the label window.

    `hinted`: the first of `after` is a click on a shown hint, so this is an exposure session with a click.
    """

    before: Sequence[Act]
    after: Sequence[Act]
    now: float
    hinted: bool

    @property
    def own(self) -> frozenset[str]:
        """The queries that the shopper searched before."""
        return frozenset(act.query for act in self.before if act.query is not None)


def histories(events: pl.DataFrame, dataset: Dataset) -> list[History]:
    """Return `events` (of `workers.common.learning`) by shopper, with the shoppers' profiles."""
    profiles = dataset.profile_texts()
    found: list[History] = []
    for (user_id,), rows in events.group_by("user_id", maintain_order=True):
        acts = [Act(*row) for row in rows.select("ts", "type", "query", "item_id").iter_rows()]
        found.append(History(str(user_id), profiles.get(str(user_id), {}), acts))
    return found


def moments(
    history: History, count: int, window_days: float, period: tuple[float, float], rng: np.random.Generator
) -> Iterator[Moment]:
    """Yield each exposure session with a click, `count` / 2 drawn places in the history, and as many visits."""
    acts = history.acts
    places = {n for n, act in enumerate(acts) if act.type == "hint_click"}
    places |= {int(rng.integers(0, 3)), *rng.integers(0, len(acts), max(0, count // 2 - 1)).tolist()}
    for place in sorted(place for place in places if place < len(acts)):
        last = acts[place - 1].ts if place else acts[0].ts
        gap = acts[place].ts - last if place else DAY_S
        # Right after the last action, or just before the next: as old as histories are when hints are wanted.
        soon = float(rng.choice((1.0, 60.0, 3600.0, DAY_S))) * float(rng.uniform(0.5, 2.0))
        now = last + (min(gap, soon) if rng.random() < _SOON_SHARE else gap)
        after = [act for act in acts[place:] if act.ts < now + window_days * DAY_S]
        if any(act.query is not None for act in after):
            yield Moment(acts[:place], after, now, acts[place].type == "hint_click")
    yield from visits(history, count // 2, period, rng)


def visits(history: History, count: int, period: tuple[float, float], rng: np.random.Generator) -> Iterator[Moment]:
    """Yield at most `count` moments at times drawn from `period` (epoch seconds) after which the shopper searched."""
    times = [act.ts for act in history.acts]
    for now in rng.uniform(*period, count).tolist():
        place = bisect_left(times, now)
        if any(act.query is not None for act in history.acts[place:]):
            yield Moment(history.acts[:place], history.acts[place:], now, hinted=False)


def learning_period(dataset: Dataset) -> tuple[float, float]:
    """Return when visits are drawn: after the first quarter of what is learned from, so that some have a history."""
    start, end = datetime.fromisoformat(dataset.manifest["from"]).timestamp(), cut_off(dataset.manifest)
    return start + (end - start) / 4, end
