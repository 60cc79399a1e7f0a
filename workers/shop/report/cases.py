"""Cases: what a shopper did before the cut-off, and the searches right after it that suggestions should foresee.

The cut-off and the shoppers are those of the offline evaluation: `workers.common.split`.
"""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
import polars as pl

from service.contracts.text import normalise
from workers.common.split import part_of

AHEAD: Final = 3
"""A hit is one of this many searches after the cut-off."""
SUGGESTED: Final = 6
COLD_ACTS: Final = 2
"""Of a cold shopper no more than this was seen."""
_RESAMPLES = 2000
_COLUMNS = ("user_id", "ts", "type", "query", "item_id", "session_id")
_ACTS = ("search", "hint_click", "click", "cart", "purchase")

same = lru_cache(maxsize=1 << 18)(normalise)


class Act(NamedTuple):
    """A logged act of a shopper; `query` as typed, or the clicked hint."""

    ts: float
    type: str
    query: str | None
    item_id: str | None


@dataclass(slots=True)
class Life:
    """A shopper's acts before the cut-off, and the first searches after it (normalised).

    `visit` is the number of the session (1-based) of the first event after the cut-off.
    """

    user_id: str
    segment: str
    locale: str
    before: list[Act] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    visit: int = 0

    @property
    def searched(self) -> set[str]:
        """The queries (normalised) that the shopper asked before the cut-off."""
        return {same(act.query) for act in self.before if act.query}

    @property
    def is_case(self) -> bool:
        """Whether the shopper searches after the cut-off and is one of those that the evaluation reports on."""
        return bool(self.after) and part_of(self.user_id) == "test"

    @property
    def cold(self) -> bool:
        """Whether next to nothing was seen."""
        return len(self.before) <= COLD_ACTS

    @property
    def novel(self) -> list[str]:
        """The next searches that the shopper had not made before."""
        searched = self.searched
        return [query for query in self.after if query not in searched]


def hit(suggested: Sequence[str], wanted: Collection[str]) -> bool:
    """Whether one of the first `SUGGESTED` is among the `wanted` queries (normalised)."""
    return any(same(text) in wanted for text in suggested[:SUGGESTED])


class HitRate(NamedTuple):
    """A share of cases with its 95% interval."""

    rate: float
    low: float
    high: float
    cases: int


def lives(events: pl.DataFrame, profiles: pl.DataFrame, cut: float, without: frozenset[str]) -> Iterator[Life]:
    """Yield shoppers in the order of `events`, those in `without` left out."""
    who = {row[0]: row for row in profiles.select("user_id", "segment", "locale").iter_rows()}
    life: Life | None = None
    for user_id, ts, kind, query, item_id, session in events.select(_COLUMNS).iter_rows():
        if user_id in without:
            continue
        if life is None or life.user_id != user_id:
            if life is not None:
                yield life
            life = Life(*who[user_id])
        if ts >= cut and not life.visit:
            life.visit = int(session.rsplit("-", 1)[1])
        if ts < cut and kind in _ACTS:
            life.before.append(Act(ts, kind, query, item_id))
        elif ts >= cut and kind == "search" and len(life.after) < AHEAD:
            life.after.append(same(query))
    if life is not None:
        yield life


def hit_rate(hits: Sequence[bool], rng: np.random.Generator) -> HitRate:
    """Return the share of hits with a bootstrap interval over shoppers; NaN where there are no cases."""
    count = len(hits)
    if not count:
        return HitRate(math.nan, math.nan, math.nan, 0)
    rate = sum(hits) / count
    # A case a shopper and hits of 0 or 1: resampling shoppers is a binomial draw.
    low, high = np.percentile(rng.binomial(count, rate, _RESAMPLES) / count, [2.5, 97.5])
    return HitRate(rate, float(low), float(high), count)
