"""Baselines that know no history: popular with everyone, and popular with shoppers like this one."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Final

from workers.evaluation.cases import Case, Shopper, Split
from workers.evaluation.methods import Lists, Params, top

_DAY_S: Final = 86400.0
_WINDOWS: Final = (None, 14.0, 7.0)
"""Days before the cut-off that count; None is all."""
_PRIORS: Final = (30.0, 300.0)
_MAX_FIELDS: Final = 6
_MAX_VALUES: Final = 50

_Shares = dict[tuple[str, ...], Mapping[str, float]]
"""Group of shoppers -> query -> share of them who search it; () is everyone."""


class Popular:
    """The queries that most shoppers searched."""

    name = "popular"

    def __init__(self, split: Split) -> None:
        self._split = split
        self._lists: dict[float | None, list[str]] = {}
        self.grid: Sequence[Params] = [{"days": days} for days in _WINDOWS]

    def rank(self, cases: Sequence[Case], params: Params) -> Lists:
        """See `Baseline.rank`."""
        days = _days(params)
        if days not in self._lists:
            self._lists[days] = top(count(self._split, self._split.learners, days))
        return [self._lists[days] for _ in cases]


class PopularBySegment:
    """The queries that most shoppers with the same profile fields searched; tuning chooses the fields.

    The counts of few shoppers are noise, so `prior` shoppers are added who search like everyone.
    """

    name = "popular_segment"

    def __init__(self, split: Split) -> None:
        self._split = split
        self._tables: dict[tuple[str, float | None, float], _Shares] = {}
        self.grid: Sequence[Params] = [
            {"fields": " ".join(fields), "days": days, "prior": prior}
            for fields in _groupings(split.learners)
            for days in _WINDOWS[:2]
            for prior in _PRIORS
        ]

    def rank(self, cases: Sequence[Case], params: Params) -> Lists:
        """See `Baseline.rank`."""
        return [list(self.shares(case, params)) for case in cases]

    def shares(self, shopper: Shopper, params: Params) -> Mapping[str, float]:
        """Return the share of shoppers like this one who search a query, for the `DEPTH` most frequent, most first."""
        fields, days, prior = str(params["fields"]), _days(params), float(params["prior"] or 0.0)
        if (fields, days, prior) not in self._tables:
            self._tables[fields, days, prior] = self._learn(fields, days, prior)
        table = self._tables[fields, days, prior]
        return table.get(_group(shopper, fields), table[()])

    def _learn(self, fields: str, days: float | None, prior: float) -> _Shares:
        groups: dict[tuple[str, ...], list[Shopper]] = {}
        for shopper in self._split.learners:
            groups.setdefault(_group(shopper, fields), []).append(shopper)
        everyone = count(self._split, self._split.learners, days)
        total = len(self._split.learners)
        table: _Shares = {(): {query: everyone[query] / total for query in top(everyone)}}
        for group, shoppers in groups.items():
            own = count(self._split, shoppers, days)
            # Of what nobody of the group searched, only the most popular can rank.
            shares = {
                query: (own[query] + prior * everyone[query] / total) / (len(shoppers) + prior)
                for query in {*own, *table[()]}
            }
            table[group] = {query: shares[query] for query in top(shares)}
        return table


def count(split: Split, shoppers: Sequence[Shopper], days: float | None) -> Counter[str]:
    """Return how many of `shoppers` searched each query that may be suggested, in the last `days` before the cut."""
    since = 0.0 if days is None else split.now - days * _DAY_S
    found: Counter[str] = Counter()
    for shopper in shoppers:
        found.update({act.ref for act in shopper.history if act.type == "search" and act.ts >= since})
    return Counter({query: number for query, number in found.items() if query in split.queries})


def _days(params: Params) -> float | None:
    days = params["days"]
    return None if days is None else float(days)


def _group(shopper: Shopper, fields: str) -> tuple[str, ...]:
    return tuple(shopper.profile.get(field, "") for field in fields.split())


def _groupings(learners: Sequence[Shopper]) -> list[tuple[str, ...]]:
    """Return single profile fields, pairs, and the usual `segment locale` first; () if there are no fields."""
    values: dict[str, set[str]] = {}
    for shopper in learners:
        for field, value in shopper.profile.items():
            values.setdefault(field, set()).add(value)
    fields = sorted(field for field, known in values.items() if 1 < len(known) <= _MAX_VALUES)[:_MAX_FIELDS]
    found = [group for size in (1, 2) for group in combinations(fields, size)]
    usual = [group for group in found if set(group) == {"segment", "locale"}]
    return [*usual, *(group for group in found if group not in usual)] or [()]
