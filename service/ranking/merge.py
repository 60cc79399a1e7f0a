"""Merge candidates from all sources into one ranked list. Pure, and cheap: scores were computed at write time."""

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from operator import itemgetter
from typing import Final, NamedTuple

from service.contracts.codecs import QUERY_TYPES
from service.contracts.hints import Source
from service.contracts.text import near_key
from service.ranking.bounded import Bounded
from service.ranking.filter import reject_reason

# What the other sources weigh is the artefact's to say: `service.ranking.calibration`.
# A trigger younger than the shopper's list is news that the list cannot know, so it may lead.
WEIGHT_FRESH_TRIGGER: Final = 1.2
WEIGHT_U2Q: Final = 1.0
WEIGHT_SEEN_TRIGGER: Final = 0.2
TRIGGER_DECAY: Final = 0.7
"""Weight of each further trigger, newest first."""
TRIGGER_SHARE: Final = 0.4
"""One trigger fills at most this share of a list that other sources can fill too."""


Row = tuple[str, str, float]
"""A query of a list: its near key (empty if it must not be shown), itself, its score. A request meets a hundred."""


class Proposal(NamedTuple):
    """What a source, or one trigger of it, proposes: lists as they are kept, scored by `weight` only when merged."""

    source: Source
    rows: Sequence[Row]
    weight: float = 1.0
    trigger: str | None = None


class Candidate(NamedTuple):
    """A query that is shown, or was not; `score` holds the source's weight."""

    query: str
    source: Source
    score: float
    trigger: str | None = None


_Entry = tuple[float, str, str, Source, str | None]
"""Score, near key, query, source, trigger: a candidate that is still one of many."""
Drops = Callable[[Candidate, str], None]
"""Hears of a candidate that is not shown, and why: a reason of the output filter, or one of `merge`.

With those that are shown, that is each row once; "merged" ones went into another candidate of the same near key.
"""


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
    proposals: Iterable[Proposal],
    k: int,
    exclude: Collection[str],
    *,
    pool: int = 0,
    trigger_share: float = TRIGGER_SHARE,
    category_share: float = 1.0,
    source_share: float = 1.0,
    category: Callable[[str], str | None] = _unknown,
    refuse: Callable[[str], str | None] = _unknown,
    tired: Collection[str] = (),
    dropped: Drops | None = None,
) -> list[Candidate]:
    """Return at most `k` candidates, best first, no two alike, none like a query in `exclude`; then up to `pool` more.

    What several sources propose scores their sum, under the name of the one that gave most; but what was ranked among
    all sources when it was written keeps its score. A trigger has at most `trigger_share` of the list, a category (of a
    query, by `category`) at most `category_share`, and a source at most `source_share`, until every other candidate is
    used up; those whose near key is in `tired` come after all others. What `refuse` has a reason against is not there
    at all. `dropped` is told why others are not there.
    """
    excluded = {"", *map(near_key, exclude)}
    over = _quotas(k, trigger_share, category_share, source_share, category)
    taken: set[str] = set()
    chosen: list[Candidate] = []
    spare: dict[str, list[_Entry]] = {"trigger_quota": [], "source_quota": [], "category_quota": []}
    weary: list[_Entry] = []
    told = _telling(dropped)
    for entry in _summed(proposals, excluded, told, apart=source_share < 1, listened=dropped is not None):
        _, key, query, _, _ = entry
        if len(chosen) == k + pool:
            if dropped is None:
                break
            told(entry, "surplus")
        elif reason := "duplicate" if key in taken else refuse(query):
            told(entry, reason)
        elif key in tired:
            weary.append(entry)
        elif len(chosen) < k and (reason := over(entry)):
            spare[reason].append(entry)
        else:
            taken.add(key)
            chosen.append(_candidate(entry))
    for reason, held_back in (*spare.items(), ("fatigue", weary)):
        for entry in _append(chosen, held_back, taken, k + pool):
            told(entry, reason)
    return chosen


def _quotas(
    k: int, trigger_share: float, category_share: float, source_share: float, category: Callable[[str], str | None]
) -> Callable[[_Entry], str | None]:
    """Return what says which quota of a list of `k` holds an entry back; one that none does, it counts."""
    of_trigger, of_category, of_source = (
        max(1, math.ceil(k * share)) for share in (trigger_share, category_share, source_share)
    )
    triggers: dict[str, int] = {}
    categories: dict[str, int] = {}
    sources: dict[Source, int] = {}

    def over(entry: _Entry) -> str | None:
        _, _, query, source, trigger = entry
        about = category(query) if category_share < 1 else None
        if trigger is not None and triggers.get(trigger, 0) >= of_trigger:
            return "trigger_quota"
        if source_share < 1 and sources.get(source, 0) >= of_source:
            return "source_quota"
        if about is not None and categories.get(about, 0) >= of_category:
            return "category_quota"
        if trigger is not None:
            triggers[trigger] = triggers.get(trigger, 0) + 1
        if source_share < 1:
            sources[source] = sources.get(source, 0) + 1
        if about is not None:
            categories[about] = categories.get(about, 0) + 1
        return None

    return over


def _append(chosen: list[Candidate], held_back: Sequence[_Entry], taken: set[str], limit: int) -> list[_Entry]:
    """Fill `chosen` up to `limit` with what is not like anything in it; return what found no place."""
    left: list[_Entry] = []
    for entry in held_back:
        if len(chosen) < limit and entry[1] not in taken:
            taken.add(entry[1])
            chosen.append(_candidate(entry))
        else:
            left.append(entry)
    return left


def _telling(dropped: Drops | None) -> Callable[[_Entry, str], None]:
    def tell(entry: _Entry, reason: str) -> None:
        if dropped is not None:
            dropped(_candidate(entry), reason)

    return tell


def _candidate(entry: _Entry) -> Candidate:
    score, _, query, source, trigger = entry
    return Candidate(query, source, score, trigger)


def _gathered(proposals: Iterable[Proposal]) -> tuple[dict[str, _Entry], dict[str, list[_Entry]]]:
    """Return the first entry of each near key, and all entries of those that were proposed again."""
    first: dict[str, _Entry] = {}
    alike: dict[str, list[_Entry]] = {}  # few: most queries are proposed once
    for source, rows, weight, trigger in proposals:
        for key, query, score in rows:
            if key in first:
                alike.setdefault(key, [first[key]]).append((weight * score, key, query, source, trigger))
            else:
                first[key] = (weight * score, key, query, source, trigger)
    return first, alike


def _summed(
    proposals: Iterable[Proposal],
    excluded: Collection[str],
    told: Callable[[_Entry, str], None],
    *,
    apart: bool,
    listened: bool,
) -> list[_Entry]:
    """Return what may be shown, best first.

    Of each source, a query's best score counts; a trigger speaks for itself: its proposal that the quota may hold back
    stays beside the sum of the others, so that it holds back itself; so does each source, if they are held `apart`.
    """
    first, alike = _gathered(proposals)
    for key in excluded:
        if key in first:
            only = first.pop(key)
            for entry in alike.pop(key, [only]):
                told(entry, (not key and reject_reason(entry[2])) or "excluded")
    extra: list[_Entry] = []
    for key, some in alike.items():
        best: dict[Source, _Entry] = {}
        for entry in some:
            known = best.get(entry[3])
            if known is None or entry[0] > known[0]:
                best[entry[3]] = entry
        strongest, *others = best.values() if len(best) == 1 else sorted(best.values(), key=_by_score)
        del first[key]
        left = others if apart or strongest[4] is not None else []
        if listened:
            staying = {id(strongest), *map(id, left)}
            for entry in some:
                if id(entry) not in staying:
                    told(entry, "merged")
        # `ranked_score` has weighed what other sources say of a query: added again, they would count twice.
        ranked = strongest[3] == "u2q" and strongest[0] > WEIGHT_U2Q
        total = strongest[0] if ranked else sum([entry[0] for entry in best.values()])
        extra.append((total, *strongest[1:]))
        extra += left
    found = [*first.values(), *extra]
    found.sort(key=_score, reverse=True)
    return found


_score = itemgetter(0)


def _by_score(entry: _Entry) -> tuple[float, str]:
    return -entry[0], entry[3]


_KEYS: Final[Bounded[str, str]] = Bounded(1 << 16)
"""Near keys by query, empty for those that must not be shown."""


def _key(query: str) -> str:
    try:
        return _KEYS[query]
    except KeyError:
        return _KEYS.put(query, "" if reject_reason(query) else near_key(query))


def rows(queries: Iterable[tuple[str, float]]) -> list[Row]:
    """Return (query, score) pairs in the form that `merge` reads."""
    return [(_key(query), query, score) for query, score in queries]


def trigger_weight(position: int, *, fresh: bool) -> float:
    """Return the weight of x2q lists of the trigger at `position` (0 = newest)."""
    return (WEIGHT_FRESH_TRIGGER if fresh else WEIGHT_SEEN_TRIGGER) * TRIGGER_DECAY**position


def recent_searches(actions: Sequence[tuple[str, str]]) -> list[str]:
    """Return the queries among (type, ref) actions that the shopper already searched: no need to suggest them."""
    return [ref for kind, ref in actions if kind in QUERY_TYPES]
