"""The simplest ways to suggest, learnt from what was logged before the cut-off."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final, Self

from workers.shop.people import DAY_S
from workers.shop.report.cases import SUGGESTED, Act, Life, same

_AHEAD = 4
_AHEAD_S = 1.5 * DAY_S
_FADE = 0.7
_DAMPING = 3.0
"""Added to a trigger's count, so that a trigger seen once does not speak with certainty."""
_TRAIL = 6
_KEPT = 24
_OWN = 3

Table = dict[str, list[tuple[str, float]]]


def first_distinct(*lists: Iterable[str], without: Collection[str] = ()) -> list[str]:
    """Return the first `SUGGESTED` distinct queries of the lists, one list after the other, none of `without`."""
    return [query for query in dict.fromkeys(map(same, chain(*lists))) if query not in without][:SUGGESTED]


@dataclass(frozen=True, slots=True)
class Baselines:
    """`popular` by (segment, locale), most shoppers first; `next_after` maps a trigger to (query, score)."""

    popular_of: dict[tuple[str, str], list[str]]
    next_after: Table

    @classmethod
    def learn(cls, lives: Iterable[Life]) -> Self:
        """Count popular queries and what follows what; a shopper counts once each."""
        shoppers: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        weights: dict[tuple[str, str], float] = defaultdict(float)
        for life in lives:
            shoppers[life.segment, life.locale].update(
                {same(act.query) for act in life.before if act.type == "search" and act.query}
            )
            for pair, weight in _follows(life.before).items():
                weights[pair] += weight
        pairs: dict[str, dict[str, float]] = defaultdict(dict)
        for (trigger, text), weight in weights.items():
            pairs[trigger][text] = weight
        popular = {who: [text for text, _ in _ranked(counts, _KEPT)] for who, counts in shoppers.items()}
        return cls(popular, {trigger: _scored(counts) for trigger, counts in pairs.items()})

    def popular(self, life: Life, without: Collection[str] = ()) -> list[str]:
        """Suggest what most shoppers of the segment and locale searched."""
        return first_distinct(self._popular(life), without=without)

    def repeat(self, life: Life, without: Collection[str] = ()) -> list[str]:
        """Suggest the shopper's own last queries, newest first, then popular ones."""
        return first_distinct(_own(life), self._popular(life), without=without)

    def co_click(self, life: Life, without: Collection[str] = ()) -> list[str]:
        """Suggest what others searched after the shopper's last queries and items, then popular ones."""
        return first_distinct(self._related(life), self._popular(life), without=without)

    def repeat_and_co_click(self, life: Life, without: Collection[str] = ()) -> list[str]:
        """Suggest the last three own queries, then co-click."""
        return first_distinct(_own(life)[:_OWN], self._related(life), self._popular(life), without=without)

    def _popular(self, life: Life) -> list[str]:
        return self.popular_of.get((life.segment, life.locale), [])

    def _related(self, life: Life) -> list[str]:
        scores: dict[str, float] = defaultdict(float)
        weight = 1.0
        triggers = dict.fromkeys(_trigger(act) for act in reversed(life.before) if act.type in {"search", "click"})
        for trigger in list(triggers)[:_TRAIL]:
            for text, score in self.next_after.get(trigger, ()):
                scores[text] += weight * score
            weight *= _FADE
        return [text for text, _ in _ranked(scores, _KEPT)]


METHODS: Final = {
    "popular": Baselines.popular,
    "repeat": Baselines.repeat,
    "co_click": Baselines.co_click,
    "repeat+co_click": Baselines.repeat_and_co_click,
}


def _own(life: Life) -> list[str]:
    return first_distinct(act.query for act in reversed(life.before) if act.type == "search" and act.query)


def _trigger(act: Act) -> str:
    return same(act.query) if act.query else f"item:{act.item_id}"


def _follows(acts: Sequence[Act]) -> dict[tuple[str, str], float]:
    """Return (trigger, later query) -> weight: the next different queries soon after, the nearer the more."""
    steps = [(act.ts, _trigger(act), act.type == "search") for act in acts if act.type in {"search", "click"}]
    found: dict[tuple[str, str], float] = {}
    for n, (ts, trigger, _) in enumerate(steps):
        weight, seen = 1.0, {trigger}
        for later, text, is_query in steps[n + 1 :]:
            if later - ts > _AHEAD_S or len(seen) > _AHEAD:
                break
            if is_query and text not in seen:
                found.setdefault((trigger, text), weight)
                seen.add(text)
                weight *= _FADE
    return found


def _ranked(counts: Mapping[str, float], limit: int) -> list[tuple[str, float]]:
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:limit]


def _scored(counts: Mapping[str, float]) -> list[tuple[str, float]]:
    total = sum(counts.values()) + _DAMPING
    return [(text, weight / total) for text, weight in _ranked(counts, _KEPT)]
