"""Diversity: the next slot goes to what is good and unlike what is shown already (Carbonell and Goldstein 1998, MMR).

With weight w, the next candidate is the one with the highest (1 - w) * relevance - w * likeness. Relevance is its score
over the best one's; likeness is the largest one with a candidate that was taken: half for the same category, half for
the share of terms in common (Jaccard). Terms are words, or pairs of neighbours in Chinese. A query's category is that
of most items that it finds.
"""

from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from typing import Final

from service.contracts.text import near_key, terms
from service.ranking.merge import Candidate

WINDOW: Final = 20
"""Candidates beside the list that may enter it."""


@lru_cache(maxsize=1 << 14)
def _terms(query: str) -> frozenset[str]:
    return frozenset(terms(query))


def diversify(
    ranked: Sequence[Candidate],
    k: int,
    weight: float,
    category: Callable[[str], str | None],
    tired: Collection[str] = (),
) -> list[Candidate]:
    """Return `ranked` with the first `k` chosen by the rule from the first `k + WINDOW`; the others keep their order.

    The best one stays first. Those whose near key is in `tired` stay behind.
    """
    if weight <= 0 or not ranked:
        return list(ranked)
    waiting = [one for one in ranked[: k + WINDOW] if near_key(one.query) not in tired]
    top = max((one.score for one in waiting), default=0.0) or 1.0
    # What `merge` held back has a high score and a late place: its place counts.
    relevance: list[float] = []
    for one in waiting:
        relevance.append(min(one.score / top, relevance[-1] if relevance else 1.0))
    said = [_terms(one.query) for one in waiting]
    about = [category(one.query) for one in waiting]
    likeness = [0.0] * len(waiting)
    order = list(range(len(waiting)))
    chosen: list[Candidate] = []
    while order and len(chosen) < k:
        place = max(order, key=lambda at: ((1 - weight) * relevance[at] - weight * likeness[at], -at))
        order.remove(place)
        chosen.append(waiting[place])
        for at in order:
            alike = _jaccard(said[place], said[at])
            same = about[place] is not None and about[place] == about[at]
            likeness[at] = max(likeness[at], (alike + same) / 2)
    taken = set(map(id, chosen))
    return chosen + [one for one in ranked if id(one) not in taken]


def _jaccard(left: frozenset[str], right: frozenset[str]) -> float:
    both = len(left & right)
    return both / (len(left) + len(right) - both) if both else 0.0
