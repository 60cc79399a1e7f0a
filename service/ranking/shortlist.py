"""The queries at the head of a ranking that a model may read and learn."""

from collections.abc import Collection, Iterable, Iterator
from typing import Final

from service.contracts.text import near_key

OWN_KEPT: Final = 4
"""Serving drops what was just searched, so a list must hold enough beside it."""


def shortlist(ranked: Iterable[str], known: Collection[str], own: Collection[str]) -> Iterator[str]:
    """Yield `ranked` queries, likeliest first, that are among the `known`; at most `OWN_KEPT` of one's `own`.

    The shopper's own rare queries are ranked too, but a model must not learn them.
    """
    mine = 0
    for query in ranked:
        if query in known:
            mine += query in own
            if query not in own or mine <= OWN_KEPT:
                yield query


def distinct(queries: Iterable[str], limit: int) -> list[str]:
    """Return the first `limit` queries, no two alike."""
    chosen: dict[str, str] = {}
    for query in queries:
        if len(chosen) >= limit:
            break
        chosen.setdefault(near_key(query), query)
    return list(chosen.values())
