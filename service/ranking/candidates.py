"""From lists and recent behaviour to candidates, without I/O: the same in a request and in the offline evaluation."""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final
from weakref import WeakKeyDictionary

from service.contracts.codecs import QUERY_TYPES, BehaviourEntry, ScoredQuery
from service.contracts.hints import MAX_HINTS
from service.contracts.keys import Trigger, category_trigger, item_trigger, query_trigger, segment_trigger
from service.contracts.text import normalise
from service.ranking.bounded import Bounded
from service.ranking.catalogue import Catalogue
from service.ranking.merge import (
    TRIGGER_DECAY,
    WEIGHT_CO_CLICK,
    WEIGHT_POPULAR,
    WEIGHT_TEXT,
    WEIGHT_U2Q,
    Candidate,
    rank_score,
    trigger_weight,
)
from service.ranking.popular_queries import Context

RECENT_EVENTS: Final = 20
"""The latest actions of a shopper that a request reads."""
MAX_TRIGGERS: Final = 4
"""How many of the latest triggers x2q is asked for."""
CO_CLICK_TRIGGERS: Final = 8
POPULAR_SPARE: Final = 20
"""Popular queries that are looked at beside as many as are asked for: some are alike, or were just searched."""
CO_CLICK_LIMIT: Final = 40


POPULAR_MADE: Final = MAX_HINTS + POPULAR_SPARE
_CONTEXTS: Final = 1000
_POPULAR: WeakKeyDictionary[Catalogue, Bounded[Context, tuple[Candidate, ...]]] = WeakKeyDictionary()
"""Popular candidates by context, made once an artefact; some 10 kB a context."""


@dataclass(frozen=True, slots=True)
class LiveTrigger:
    """A recent action as x2q keys, most specific first; the first that has a list is used."""

    keys: tuple[Trigger, ...]
    ts: float


def live_triggers(
    behaviour: Sequence[BehaviourEntry], catalogue: Catalogue, limit: int = MAX_TRIGGERS
) -> list[LiveTrigger]:
    """Return the latest `limit` distinct triggers, newest first. An item falls back to its category."""
    latest: dict[Trigger, BehaviourEntry] = {}
    for entry in sorted(behaviour, key=lambda e: -e.ts):
        is_query = entry.type in QUERY_TYPES
        latest.setdefault(query_trigger(entry.ref) if is_query else item_trigger(entry.ref), entry)
        if len(latest) == limit:
            break
    triggers: list[LiveTrigger] = []
    for key, entry in latest.items():
        category = None if entry.type in QUERY_TYPES else catalogue.category(entry.ref)
        triggers.append(LiveTrigger((key,) if category is None else (key, category_trigger(category)), entry.ts))
    return triggers


def segment_triggers(profile: Mapping[str, str]) -> list[LiveTrigger]:
    """Return what stands for a shopper without a history: the segment, if the profile says one."""
    segment = profile.get("segment")
    return [LiveTrigger((segment_trigger(segment),), 0.0)] if segment else []


def referrer_trigger(query: str, catalogue: Catalogue, now: float) -> LiveTrigger:
    """Return what a search elsewhere stands for: that query here, else the category of what it finds here."""
    category = catalogue.query_category(normalise(query))
    key = query_trigger(query)
    return LiveTrigger((key,) if not category else (key, category_trigger(category)), now)


def bought_lately(behaviour: Sequence[BehaviourEntry], catalogue: Catalogue, since: float) -> AbstractSet[str]:
    """Return the categories in which the shopper bought since then, but for those in which shoppers buy again."""
    bought = {catalogue.category(entry.ref) for entry in behaviour if entry.type == "purchase" and entry.ts >= since}
    return {category for category in bought if category} - catalogue.consumable


def refusal(catalogue: Catalogue, bought: AbstractSet[str]) -> Callable[[str], str | None]:
    """Return what says why a query is not served: it finds too little, or is about a category in `bought`."""

    def refuse(query: str) -> str | None:
        if not catalogue.finds(query):
            return "finds_nothing"
        return "bought" if bought and catalogue.query_category(query) in bought else None

    return refuse


def from_u2q(queries: Sequence[ScoredQuery]) -> list[Candidate]:
    """Return the queries of the shopper's own list."""
    return [Candidate(q.query, "u2q", WEIGHT_U2Q * q.score) for q in queries]


def from_x2q(
    triggers: Sequence[LiveTrigger],
    list_of: Callable[[Trigger], Sequence[ScoredQuery] | None],
    u2q_generated_s: float,
    lead: float = 1.0,
) -> list[Candidate]:
    """Return the queries that triggers lead to; one newer than the shopper's list outweighs its best score, `lead`."""
    candidates: list[Candidate] = []
    for position, trigger in enumerate(triggers):
        fresh = trigger.ts > u2q_generated_s
        weight = trigger_weight(position, fresh=fresh) * (lead if fresh else 1.0)
        for key in trigger.keys:
            found = list_of(key)
            if found is not None:
                candidates.extend(Candidate(q.query, "x2q", weight * q.score, key) for q in found)
                break
    return candidates


def from_co_click(triggers: Sequence[LiveTrigger], catalogue: Catalogue) -> list[Candidate]:
    """Return what others searched after the latest triggers, scores added up over them; scored by rank.

    `trigger` is the one that says most for a query.
    """
    lists = catalogue.co_click.lists([key for trigger in triggers for key in trigger.keys])
    scores: dict[str, float] = {}
    best: dict[str, tuple[float, Trigger]] = {}
    for position, trigger in enumerate(triggers):
        key = next((key for key in trigger.keys if key in lists), None)
        if key is None:
            continue
        weight = TRIGGER_DECAY**position
        for query, own in lists[key]:
            score = weight * own
            if query not in scores:
                scores[query], best[query] = score, (score, key)
                continue
            scores[query] += score
            best[query] = max(best[query], (score, key))
    ranked = sorted(scores, key=lambda query: (-scores[query], query))[:CO_CLICK_LIMIT]
    return [
        Candidate(query, "co_click", WEIGHT_CO_CLICK * rank_score(rank), best[query][1])
        for rank, query in enumerate(ranked)
    ]


def from_text(triggers: Sequence[LiveTrigger], catalogue: Catalogue) -> list[Candidate]:
    """Return queries that share words with the latest items of which the logs know nothing; scored by rank."""
    lists = catalogue.text.lists([trigger.keys[0] for trigger in triggers])
    candidates: list[Candidate] = []
    for position, trigger in enumerate(triggers):
        key, weight = trigger.keys[0], WEIGHT_TEXT * TRIGGER_DECAY**position
        found = lists.get(key, ())
        candidates += [
            Candidate(query, "text", weight * rank_score(rank), key) for rank, (query, _) in enumerate(found)
        ]
    return candidates


def from_popular(catalogue: Catalogue, profile: Mapping[str, str], limit: int, now: float) -> Sequence[Candidate]:
    """Return up to `limit` (at most `POPULAR_MADE`) queries that are popular with such shoppers at such a time."""
    context = catalogue.popular.context(profile, now)
    made = _POPULAR.get(catalogue)
    if made is None:
        made = _POPULAR.setdefault(catalogue, Bounded(_CONTEXTS))
    found = made.get(context)
    if found is None:
        ranked = catalogue.popular.ranked(context, POPULAR_MADE)
        found = made.put(context, tuple(Candidate(q.query, "popular", WEIGHT_POPULAR * q.score) for q in ranked))
    return found[:limit]
