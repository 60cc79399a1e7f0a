"""Merge candidates from all sources into one ranked list. Pure, and cheap: scores were computed at write time."""

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Final, NamedTuple

from service.contracts.codecs import QUERY_TYPES
from service.contracts.hints import Source
from service.contracts.text import near_key
from service.ranking.filter import reject_reason

# A trigger younger than the shopper's list is news that the list cannot know, so it may lead.
WEIGHT_FRESH_TRIGGER: Final = 1.2
WEIGHT_U2Q: Final = 1.0
WEIGHT_SEEN_TRIGGER: Final = 0.2
WEIGHT_CO_CLICK: Final = 1.0
WEIGHT_TEXT: Final = 0.25
WEIGHT_POPULAR: Final = 0.05
TRIGGER_DECAY: Final = 0.7
"""Weight of each further trigger, newest first."""
TRIGGER_SHARE: Final = 0.4
"""One trigger fills at most this share of a list that other sources can fill too."""


class Candidate(NamedTuple):
    """A query that a source proposes; `score` already holds the source's weight."""

    query: str
    source: Source
    score: float
    trigger: str | None = None


Drops = Callable[[Candidate, str], None]
"""Hears of a candidate that is not shown, and why: a reason of the output filter, or one of `merge`."""


def rank_score(rank: int) -> float:
    """Return the score of the query at `rank` (0-based) of a generated list: the DCG discount, in (0, 1]."""
    return 1.0 / math.log2(rank + 2)


def ranked_score(rank: int) -> float:
    """Return the score of the query at `rank` (0-based) of a list that was ranked among all sources, in (1, 2].

    It leads what a request finds by itself, but for what a trigger newer than the list says.
    """
    return 1.0 + rank_score(rank)


def _unknown(query: str) -> None:
    del query


def merge(
    candidates: Iterable[Candidate],
    k: int,
    exclude: Collection[str],
    *,
    pool: int = 0,
    trigger_share: float = TRIGGER_SHARE,
    category_share: float = 1.0,
    category: Callable[[str], str | None] = _unknown,
    refuse: Callable[[str], str | None] = _unknown,
    tired: Collection[str] = (),
    dropped: Drops | None = None,
) -> list[Candidate]:
    """Return at most `k` candidates, best first, no two alike, none like a query in `exclude`; then up to `pool` more.

    What several sources propose scores their sum, under the name of the one that gave most. A trigger has at most
    `trigger_share` of the list, and a category (of a query, by `category`) at most `category_share`, until every other
    candidate is used up; those whose near key is in `tired` come after all others. What `refuse` has a reason against
    is not there at all. `dropped` is told why others are not there.
    """
    excluded = {near_key(query) for query in exclude}
    trigger_quota, category_quota = max(1, math.ceil(k * trigger_share)), max(1, math.ceil(k * category_share))
    used: Counter[str] = Counter()
    taken: set[str] = set()
    chosen: list[Candidate] = []
    spare: dict[str, list[tuple[str, Candidate]]] = {"trigger_quota": [], "category_quota": []}
    weary: list[tuple[str, Candidate]] = []
    told = dropped or _ignore
    for _, key, candidate in _summed(candidates, excluded, told):
        if len(chosen) == k + pool:
            if dropped is None:
                break
            told(candidate, "surplus")
        elif reason := "duplicate" if key in taken else refuse(candidate.query):
            told(candidate, reason)
        elif key in tired:
            weary.append((key, candidate))
        elif len(chosen) < k and candidate.trigger is not None and used[candidate.trigger] >= trigger_quota:
            spare["trigger_quota"].append((key, candidate))
        else:
            about = category(candidate.query) if category_share < 1 else None
            if len(chosen) < k and about is not None and used[about] >= category_quota:
                spare["category_quota"].append((key, candidate))
                continue
            used.update(group for group in (candidate.trigger, about) if group is not None)
            taken.add(key)
            chosen.append(candidate)
    for reason, held_back in (*spare.items(), ("fatigue", weary)):
        for candidate in _append(chosen, held_back, taken, k + pool):
            told(candidate, reason)
    return chosen


def _append(
    chosen: list[Candidate], held_back: Sequence[tuple[str, Candidate]], taken: set[str], limit: int
) -> list[Candidate]:
    """Fill `chosen` up to `limit` with what is not like anything in it; return what found no place."""
    left: list[Candidate] = []
    for key, candidate in held_back:
        if len(chosen) < limit and key not in taken:
            taken.add(key)
            chosen.append(candidate)
        else:
            left.append(candidate)
    return left


def _summed(
    candidates: Iterable[Candidate], excluded: Collection[str], told: Drops
) -> list[tuple[float, str, Candidate]]:
    """Return (score, near key, candidate) of what may be shown, best first.

    Of each source, a query's best score counts; a trigger speaks for itself: its proposal that the quota may hold back
    stays beside the sum of the others, so that it holds back itself.
    """
    first: dict[str, Candidate] = {}
    alike: dict[str, list[Candidate]] = {}  # few: most queries are proposed once
    for candidate in candidates:
        key, reason = _checked(candidate.query)
        if reason is not None or key in excluded:
            told(candidate, reason or "excluded")
        elif (known := first.setdefault(key, candidate)) is not candidate:
            alike.setdefault(key, [known]).append(candidate)
    found = [(candidate.score, key, candidate) for key, candidate in first.items() if key not in alike]
    for key, some in alike.items():
        best: dict[Source, Candidate] = {}
        for candidate in some:
            known_best = best.get(candidate.source)
            if known_best is None or candidate.score > known_best.score:
                best[candidate.source] = candidate
        strongest, *others = sorted(best.values(), key=lambda c: (-c.score, c.source))
        total = sum(candidate.score for candidate in best.values())
        found.append((total, key, strongest._replace(score=total)))
        if strongest.trigger is not None:
            found += [(candidate.score, key, candidate) for candidate in others]
    found.sort(key=_score, reverse=True)
    return found


_score = itemgetter(0)


@lru_cache(maxsize=1 << 16)
def _checked(query: str) -> tuple[str, str | None]:
    return near_key(query), reject_reason(query)


def _ignore(candidate: Candidate, reason: str) -> None:
    del candidate, reason


def trigger_weight(position: int, *, fresh: bool) -> float:
    """Return the weight of x2q lists of the trigger at `position` (0 = newest)."""
    return (WEIGHT_FRESH_TRIGGER if fresh else WEIGHT_SEEN_TRIGGER) * TRIGGER_DECAY**position


def recent_searches(actions: Sequence[tuple[str, str]]) -> list[str]:
    """Return the queries among (type, ref) actions that the shopper already searched: no need to suggest them."""
    return [ref for kind, ref in actions if kind in QUERY_TYPES]
