"""What others searched after the shopper's latest queries and items (co-click collaborative filtering)."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice, product
from typing import Final

from service.contracts.codecs import QUERY_TYPES
from workers.evaluation.cases import Case, Shopper, Split, trigger, triggers
from workers.evaluation.methods import Lists, Params, top

_NEXT_FADE: Final = 0.9
"""Weight of each further query that followed."""
_DAMPING: Final = 3.0
"""Added to a trigger's count, so that a trigger seen once does not speak with certainty."""
_TRAIL: Final = 15
"""The latest triggers of a case that speak."""
_KEPT: Final = 100

Prior = Callable[[Shopper], Mapping[str, float]]
Table = Mapping[str, Sequence[tuple[str, float]]]
"""Trigger -> (query, share of what followed the trigger), most first."""


class CoClick:
    """Adds up, over the latest triggers, the shares of the queries that followed them.

    `next`: how many different later queries count as following; `lift`: power of a query's popularity that its score
    is divided by; `fade`: weight of each further trigger; `category`: weight of the items' categories as triggers;
    `popular`: weight of the query's share among shoppers like this one.
    """

    name = "co_click"

    def __init__(self, split: Split, popular: Prior) -> None:
        """`popular` gives the share of shoppers like a case's who search a query, for the most frequent ones."""
        self._split = split
        self._popular = popular
        self._tables: dict[int, Table] = {}
        self.grid: Sequence[Params] = [
            {"next": following, "lift": lift, "fade": fade, "category": category, "popular": prior}
            for following, lift, fade, category, prior in product(
                (5, 15), (0.0, 0.3), (0.7, 0.9), (0.3, 0.0), (1.0, 4.0)
            )
        ]

    def rank(self, cases: Sequence[Case], params: Params) -> Lists:
        """See `Baseline.rank`."""
        return [top(self.scores(case, params)) for case in cases]

    def scores(self, case: Shopper, params: Params) -> dict[str, float]:
        """Return a score for each query that followed a trigger of the case."""
        lift, fade, category, prior = (float(params[name] or 0.0) for name in ("lift", "fade", "category", "popular"))
        following = int(params["next"] or 1)
        if following not in self._tables:
            self._tables[following] = self._learn(following)
        table, popularity = self._tables[following], self._split.queries
        scores: dict[str, float] = defaultdict(float)
        if prior:
            for query, share in self._popular(case).items():
                scores[query] = prior * share / popularity[query] ** lift
        weight = 1.0
        for one in triggers(case, _TRAIL):
            for query, share in table.get(one, ()):
                scores[query] += weight * share / popularity[query] ** lift
            if category and (wider := self._category(one)):
                for query, share in table.get(wider, ()):
                    scores[query] += category * weight * share / popularity[query] ** lift
            weight *= fade
        return scores

    def _category(self, one: str) -> str:
        item = self._split.items.get(one.removeprefix("item:")) if one.startswith("item:") else None
        return f"category:{item.category}" if item is not None and item.category else ""

    def _learn(self, following: int) -> Table:
        counts: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        for shopper in self._split.learners:
            once: dict[tuple[str, str], float] = {}
            for one, query, weight in follows(shopper, following):
                for key in filter(None, (one, self._category(one))):
                    once[key, query] = max(weight, once.get((key, query), 0.0))
            for (key, query), weight in once.items():
                counts[key][query] += weight
        return {key: self._shares(found) for key, found in counts.items()}

    def _shares(self, found: Mapping[str, float]) -> list[tuple[str, float]]:
        total = sum(found.values()) + _DAMPING
        known = {query: weight for query, weight in found.items() if query in self._split.queries}
        return [(query, known[query] / total) for query in top(known, _KEPT)]


def follows(shopper: Shopper, following: int) -> Iterator[tuple[str, str, float]]:
    """Yield (trigger, later query, weight): the next `following` different queries, the nearer the more."""
    queries = [(place, act.ref) for place, act in enumerate(shopper.history) if act.type in QUERY_TYPES]
    start = 0
    for place, act in enumerate(shopper.history):
        while start < len(queries) and queries[start][0] <= place:
            start += 1
        one = trigger(act)
        weight, seen = 1.0, {one}
        for _, query in islice(queries, start, None):
            if len(seen) > following:
                break
            if query not in seen:
                seen.add(query)
                yield one, query, weight
                weight *= _NEXT_FADE
