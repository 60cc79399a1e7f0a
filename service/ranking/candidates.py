"""From lists and recent behaviour to candidates, without I/O: the same in a request and in the offline evaluation."""

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Final, NamedTuple
from weakref import WeakKeyDictionary

from service.contracts.codecs import QUERY_TYPES, BehaviourEntry, ScoredQuery
from service.contracts.keys import Trigger, category_trigger, item_trigger, query_trigger, segment_trigger
from service.ranking.catalogue import EVERYONE, Catalogue
from service.ranking.merge import (
    TRIGGER_DECAY,
    WEIGHT_CO_CLICK,
    WEIGHT_POPULAR,
    WEIGHT_TEXT,
    WEIGHT_U2Q,
    Proposal,
    Row,
    rank_score,
    rows,
    trigger_weight,
)

RECENT_EVENTS: Final = 20
"""The latest actions of a shopper that a request reads."""
MAX_TRIGGERS: Final = 4
"""How many of the latest triggers x2q is asked for."""
CO_CLICK_TRIGGERS: Final = 8
POPULAR_SPARE: Final = 20
"""Popular queries that are looked at beside as many as are asked for: some are alike, or were just searched."""
CO_CLICK_LIMIT: Final = 40
_CO_CLICK_SCORES: Final = tuple(map(rank_score, range(CO_CLICK_LIMIT)))

_POPULAR: WeakKeyDictionary[Catalogue, dict[str, list[Row]]] = WeakKeyDictionary()
"""Popular queries by segment, made ready once an artefact."""


class LiveTrigger(NamedTuple):
    """A recent action as x2q keys, most specific first; the first that has a list is used."""

    keys: tuple[Trigger, ...]
    ts: float


def live_triggers(
    behaviour: Sequence[BehaviourEntry], catalogue: Catalogue, limit: int = MAX_TRIGGERS
) -> list[LiveTrigger]:
    """Return the latest `limit` distinct triggers, newest first. An item falls back to its category."""
    latest: dict[Trigger, LiveTrigger] = {}
    for kind, ts, ref in sorted(behaviour, key=_ts, reverse=True):
        is_query = kind in QUERY_TYPES
        key = query_trigger(ref) if is_query else item_trigger(ref)
        if key in latest:
            continue
        category = None if is_query else catalogue.category(ref)
        latest[key] = LiveTrigger((key,) if category is None else (key, category_trigger(category)), ts)
        if len(latest) == limit:
            break
    return list(latest.values())


_ts = itemgetter(BehaviourEntry._fields.index("ts"))


def segment_triggers(profile: Mapping[str, str]) -> list[LiveTrigger]:
    """Return what stands for a shopper without a history: the segment, if the profile says one."""
    segment = profile.get("segment")
    return [LiveTrigger((segment_trigger(segment),), 0.0)] if segment else []


def from_u2q(queries: Sequence[ScoredQuery]) -> list[Proposal]:
    """Return the queries of the shopper's own list."""
    return [Proposal("u2q", rows(queries), WEIGHT_U2Q)] if queries else []


def from_x2q(
    triggers: Sequence[LiveTrigger],
    list_of: Callable[[Trigger], Sequence[Row] | None],
    u2q_generated_s: float,
    lead: float = 1.0,
) -> list[Proposal]:
    """Return the queries that triggers lead to; one newer than the shopper's list outweighs its best score, `lead`."""
    proposals: list[Proposal] = []
    for position, trigger in enumerate(triggers):
        fresh = trigger.ts > u2q_generated_s
        weight = trigger_weight(position, fresh=fresh) * (lead if fresh else 1.0)
        for key in trigger.keys:
            found = list_of(key)
            if found is not None:
                proposals.append(Proposal("x2q", found, weight, key))
                break
    return proposals


def from_co_click(triggers: Sequence[LiveTrigger], catalogue: Catalogue) -> list[Proposal]:
    """Return what others searched after the latest triggers, scores added up over them; scored by rank.

    `trigger` is the one that says most for a query.
    """
    keys_of: dict[str, str] = {}
    scores: dict[str, float] = {}
    best: dict[str, tuple[float, Trigger]] = {}
    for position, trigger in enumerate(triggers):
        key, found = catalogue.co_click.first(trigger.keys)
        weight = TRIGGER_DECAY**position
        for near, query, own in found:
            score = weight * own
            if query not in scores:
                keys_of[query], scores[query], best[query] = near, score, (score, key)
                continue
            scores[query] += score
            best[query] = max(best[query], (score, key))
    ranked = sorted([(-score, query) for query, score in scores.items()])[:CO_CLICK_LIMIT]
    by_trigger: dict[Trigger, list[Row]] = {}
    for (_, query), score in zip(ranked, _CO_CLICK_SCORES, strict=False):
        by_trigger.setdefault(best[query][1], []).append((keys_of[query], query, score))
    return [Proposal("co_click", some, WEIGHT_CO_CLICK, key) for key, some in by_trigger.items()]


def from_text(triggers: Sequence[LiveTrigger], catalogue: Catalogue) -> list[Proposal]:
    """Return queries that share words with the latest items of which the logs know nothing; scored by rank."""
    proposals: list[Proposal] = []
    for position, trigger in enumerate(triggers):
        key, found = catalogue.text.first(trigger.keys[:1])
        if found:
            proposals.append(Proposal("text", found, WEIGHT_TEXT * TRIGGER_DECAY**position, key))
    return proposals


def from_popular(catalogue: Catalogue, profile: Mapping[str, str], limit: int) -> list[Proposal]:
    """Return up to `limit` queries popular in the shopper's segment, or with everyone."""
    asked = profile.get("segment", EVERYONE)
    segment = asked if catalogue.popular.get(asked) else EVERYONE  # a caller may make segments up
    made = _POPULAR.setdefault(catalogue, {})
    if segment not in made:
        made[segment] = rows(catalogue.popular[segment])
    return [Proposal("popular", made[segment][:limit], WEIGHT_POPULAR)]
