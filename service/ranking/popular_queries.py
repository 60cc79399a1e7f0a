"""What is popular with whom and when: one share a query, and what each group of shoppers or of hours searches. Pure.

A context is what is known of anybody: profile fields and the time. How much more a group searches a query than everyone
is a factor, and factors multiply (as if fields were independent), so any combination of values has a list though the
logs hold few shoppers of it. Written by `workers.common.popular`.
"""

import time
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from heapq import nlargest
from itertools import chain
from typing import Any, Final, Self

from service.contracts.codecs import ScoredQuery
from service.ranking.bounded import Bounded

Context = tuple[str, ...]
"""Names of groups that a shopper belongs to now, of those that the logs know."""
_PART_S: Final = 6 * 3600
_CONTEXTS: Final = 1000
"""Profiles of which the context stays in memory: each request asks."""
_FEW: Final = 1.0
LANGUAGE_OF: Final = "locale"
"""The profile field of which "en-US" falls back to "en"."""
REGION: Final = "region"
"""The profile field that says which season a month is."""


@dataclass(frozen=True, slots=True)
class Group:
    """What a group searches: `counts` of its shoppers by place of a query, of `searches` in all (shopper and query).

    `prior`: how many shoppers of a query it takes until they say as much as what everyone does.
    """

    searches: int
    prior: float
    places: Sequence[int]
    counts: Sequence[int]


class PopularQueries:
    """Queries with their shares of all searches, most popular first, and groups of shoppers or of hours."""

    def __init__(self, queries: Sequence[str], shares: Sequence[float], groups: Mapping[str, Group]) -> None:
        """Take `groups` by name."""
        if len(queries) != len(shares) or not queries or not all(share > 0 for share in shares):
            raise ValueError("each query needs a share")
        self.queries = tuple(queries)
        self._shares = tuple(shares)
        self._groups = {
            name: Group(one.searches, one.prior, array("I", one.places), array("I", one.counts))
            for name, one in groups.items()
        }
        self._contexts: Bounded[tuple[object, ...], Context] = Bounded(_CONTEXTS)
        for one in self._groups.values():
            if len(one.places) != len(one.counts) or max(one.places, default=0) >= len(queries) or not one.prior > 0:
                raise ValueError("a group names a query that is not there, or has no prior")

    @classmethod
    def from_json(cls, content: Any) -> Self:
        """Return what `as_json` told.

        Raises:
            ValueError: it is something else.
        """
        try:
            groups = {name: Group(**told) for name, told in content["groups"].items()}
            return cls(content["queries"], content["shares"], groups)
        except (AttributeError, KeyError, TypeError, OverflowError) as error:
            raise ValueError(f"is no table of popular queries: {error!r}") from None

    def as_json(self) -> dict[str, Any]:
        """Return the table as JSON values."""
        groups = {
            name: {
                "searches": one.searches, "prior": one.prior, "places": list(one.places), "counts": list(one.counts),
            }
            for name, one in self._groups.items()
        }  # fmt: skip
        return {"queries": self.queries, "shares": self._shares, "groups": groups}

    @property
    def groups(self) -> frozenset[str]:
        """The names of the groups."""
        return frozenset(self._groups)

    def context(self, profile: Mapping[str, str], now: float) -> Context:
        """Return the known groups of someone with `profile` at `now` (epoch seconds); what is unknown says nothing.

        Of several names for one thing, the first known one counts: a month in a region is the season there.
        """
        hour = int(now // 3600)
        key = (hour, *profile.items())
        found = self._contexts.get(key)
        if found is None:
            named = ([name for name in names if name in self._groups][:1] for names in _names(profile, hour))
            found = self._contexts.put(key, tuple(chain.from_iterable(named)))
        return found

    def ranked(self, context: Context, limit: int) -> list[ScoredQuery]:
        """Return the `limit` queries that are most popular in `context`, with scores in (0, 1]."""
        scores = list(self._shares)
        for name in context:
            one = self._groups[name]
            prior = one.prior
            expected = [one.searches * share for share in self._shares]
            # What too few of the group search is not told: as many as expected, or few.
            counts: list[float] = [min(count, _FEW) for count in expected]
            for place, count in zip(one.places, one.counts, strict=True):
                counts[place] = count
            scores = [
                score * (count + prior) / (most + prior)
                for score, count, most in zip(scores, counts, expected, strict=True)
            ]
        best = nlargest(limit, range(len(scores)), key=scores.__getitem__)
        return [ScoredQuery(self.queries[place], scores[place] / scores[best[0]]) for place in best]


def _names(profile: Mapping[str, str], hour: int) -> Iterator[tuple[str, ...]]:
    """Yield the possible names of each thing that is known, most telling first."""
    hours, month = clock(hour)
    for field, value in profile.items():
        name = group(field, value)
        yield (name, language(name)) if field == LANGUAGE_OF else (name,)
    yield (hours,)
    region = profile.get(REGION)
    yield (in_region(month, region), month) if region else (month,)


def group(field: str, value: str) -> str:
    """Return the name of the shoppers with this value of a profile field."""
    return f"{field}={value.casefold()}"


def language(locale: str) -> str:
    """Return the name of the group of a locale's language."""
    return locale.replace("_", "-").split("-", 1)[0]


def in_region(month: str, region: str) -> str:
    """Return the name of a month in a region: where it is summer in December, December says another thing."""
    return f"{month}@{region.casefold()}"


@lru_cache(maxsize=64)
def clock(hour: int) -> tuple[str, str]:
    """Return the names of the part of the day (UTC, six hours) and of the month, `hour` hours after the epoch."""
    seconds = hour * 3600
    return f"@hours={seconds % 86400 // _PART_S * _PART_S // 3600:02d}", f"@month={time.gmtime(seconds).tm_mon:02d}"
