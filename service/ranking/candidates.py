"""From lists and recent behaviour to candidates, without I/O: the same in a request and in the offline evaluation."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from service.contracts.codecs import BehaviourEntry, ScoredQuery
from service.contracts.keys import Trigger, category_trigger, item_trigger, query_trigger
from service.ranking.catalogue import EVERYONE, Catalogue
from service.ranking.merge import (
    TRIGGER_DECAY,
    WEIGHT_CO_CLICK,
    WEIGHT_POPULAR,
    WEIGHT_U2Q,
    Candidate,
    rank_score,
    trigger_weight,
)

RECENT_EVENTS: Final = 20
"""The latest actions of a shopper that a request reads."""
MAX_TRIGGERS: Final = 4
"""How many of the latest triggers x2q is asked for."""
CO_CLICK_TRIGGERS: Final = 8
POPULAR_LIMIT: Final = 60
CO_CLICK_LIMIT: Final = 40


@dataclass(frozen=True, slots=True)
class LiveTrigger:
    """A recent action as x2q keys, most specific first; the first that has a list is used."""

    keys: tuple[Trigger, ...]
    ts: float


def live_triggers(
    behaviour: Sequence[BehaviourEntry], catalogue: Catalogue, limit: int = MAX_TRIGGERS
) -> list[LiveTrigger]:
    """Return the latest `limit` distinct triggers, newest first. An item falls back to its category."""
    triggers: list[LiveTrigger] = []
    seen: set[str] = set()
    for entry in sorted(behaviour, key=lambda e: -e.ts):
        keys: tuple[Trigger, ...]
        if entry.type in {"search", "hint_click"}:
            keys = (query_trigger(entry.ref),)
        else:
            item = catalogue.item(entry.ref)
            keys = (item_trigger(entry.ref),)
            if item is not None:
                keys = (*keys, category_trigger(item.category))
        if keys[0] not in seen:
            seen.add(keys[0])
            triggers.append(LiveTrigger(keys, entry.ts))
        if len(triggers) == limit:
            break
    return triggers


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
        for one in lists[key] if key is not None else ():
            score = TRIGGER_DECAY**position * one.score
            scores[one.query] = scores.get(one.query, 0.0) + score
            best[one.query] = max(best.get(one.query, (0.0, "")), (score, key or ""))
    ranked = sorted(scores, key=lambda query: (-scores[query], query))[:CO_CLICK_LIMIT]
    return [
        Candidate(query, "co_click", WEIGHT_CO_CLICK * rank_score(rank), best[query][1])
        for rank, query in enumerate(ranked)
    ]


def from_popular(catalogue: Catalogue, profile: Mapping[str, str], limit: int) -> list[Candidate]:
    """Return up to `limit` queries popular in the shopper's segment, or with everyone."""
    queries = catalogue.popular.get(profile.get("segment", EVERYONE)) or catalogue.popular[EVERYONE]
    return [Candidate(q.query, "popular", WEIGHT_POPULAR * q.score) for q in queries[:limit]]
