"""Counts of what shoppers searched: what is popular, and what follows a trigger. Made offline, read when ranking.

A trigger is a query, "item:ID" or "category:PATH".
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

import orjson

from service.contracts.codecs import QUERY_TYPES, BehaviourEntry
from service.ranking.catalogue import Item

Table = Mapping[str, Sequence[tuple[str, float]]]
FADE: Final = 0.7
"""Weight of each further trigger, newest first."""
_TRAIL: Final = 8


def trigger_keys(query: str | None, item_id: str | None, category: str) -> tuple[str, ...]:
    """Return the triggers of an act, most specific first."""
    return (query,) if query is not None else (f"item:{item_id}", f"category:{category}")


@dataclass(frozen=True)
class NextCounts:
    """`popularity`: shoppers by query, most first. `popular`: by segment, share of searches. `after`: best first."""

    popularity: Mapping[str, int] = field(default_factory=dict)
    popular: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    after: Table = field(default_factory=dict)

    def popular_with(self, profile: Mapping[str, str]) -> Mapping[str, float]:
        """Return the most searched queries of shoppers like this one, with their share of searches."""
        return self.popular.get(segment_of(profile), {})

    def following(self, newest_first: Iterator[BehaviourEntry], items: Mapping[str, Item]) -> dict[str, float]:
        """Return a score for each query that follows one of the latest distinct actions."""
        trail: dict[str, tuple[str, ...]] = {}
        for entry in newest_first:
            if entry.type in QUERY_TYPES:
                keys = trigger_keys(entry.ref, None, "")
            else:
                item = items.get(entry.ref)
                keys = trigger_keys(None, entry.ref, item.category if item else "")
            trail.setdefault(keys[0], keys)
            if len(trail) == _TRAIL:
                break
        scores: defaultdict[str, float] = defaultdict(float)
        weight = 1.0
        for keys in trail.values():
            for key in keys:
                if found := self.after.get(key):
                    for query, score in found:
                        scores[query] += weight * score
                    break  # the item says more than its category
            weight *= FADE
        return scores

    def dump(self) -> bytes:
        """Return the counts as JSON: each query once, then places in that list."""
        place = {query: n for n, query in enumerate(self.popularity)}
        return orjson.dumps(
            {
                "queries": list(self.popularity),
                "shoppers": list(self.popularity.values()),
                "popular": {key: _columns(shares.items(), place) for key, shares in self.popular.items()},
                "after": {key: _columns(pairs, place) for key, pairs in self.after.items()},
            }
        )

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Return what `dump` wrote, scores to five digits.

        Raises:
            ValueError: it did not.
        """
        try:
            content = orjson.loads(raw)
            queries: list[str] = content["queries"]
            popular = {key: dict(_pairs(columns, queries)) for key, columns in content["popular"].items()}
            after = {key: _pairs(columns, queries) for key, columns in content["after"].items()}
            return cls(dict(zip(queries, content["shoppers"], strict=True)), popular, after)
        except (KeyError, IndexError, TypeError, AttributeError, orjson.JSONDecodeError) as error:
            raise ValueError(f"is not counts of next searches ({error})") from None


def segment_of(profile: Mapping[str, str]) -> str:
    """Return which shoppers count as alike."""
    return f"{profile.get('segment', '')}/{profile.get('locale', '')}"


def _columns(pairs: Any, place: Mapping[str, int]) -> list[list[Any]]:
    pairs = list(pairs)
    return [[place[query] for query, _ in pairs], [float(f"{score:.5g}") for _, score in pairs]]


def _pairs(columns: Sequence[Sequence[Any]], queries: Sequence[str]) -> list[tuple[str, float]]:
    return [(queries[n], score) for n, score in zip(*columns, strict=True)]
