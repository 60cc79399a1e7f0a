"""From lists and recent behaviour to candidates, without I/O: the same in a request and in the offline evaluation."""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from operator import itemgetter
from typing import Final, NamedTuple
from weakref import WeakKeyDictionary

from service.contracts.codecs import QUERY_TYPES, BehaviourEntry, QueryList, ScoredQuery
from service.contracts.hints import MAX_HINTS
from service.contracts.keys import Trigger, category_trigger, item_trigger, query_trigger, segment_trigger, trigger_kind
from service.contracts.text import has_cjk, normalise
from service.ranking.bounded import Bounded
from service.ranking.catalogue import Catalogue
from service.ranking.filter import reads_cjk
from service.ranking.merge import (
    TRIGGER_DECAY,
    WEIGHT_U2Q,
    Proposal,
    Row,
    rank_score,
    rows,
    trigger_weight,
)
from service.ranking.popular_queries import Context

RECENT_EVENTS: Final = 20
"""The latest actions of a shopper that a request reads."""
MAX_TRIGGERS: Final = 4
"""How many of the latest triggers x2q is asked for."""
CO_CLICK_TRIGGERS: Final = 8
POPULAR_SPARE: Final = 10
"""Popular queries that are looked at beside as many as are asked for: some are alike, or were just searched."""
TEXT_OF_QUERY: Final = 0.1
"""Share of the weight of what is like an item that what is like a query has: more costs hits (docs/experiments.md)."""
WEIGHT_FRESH_TEXT: Final = 0.75
"""Of what is like the newest trigger, over the best of a list older than it: one such query is shown, few more."""
CO_CLICK_LIMIT: Final = 24
_CO_CLICK_SCORES: Final = tuple(map(rank_score, range(CO_CLICK_LIMIT)))


POPULAR_MADE: Final = MAX_HINTS + POPULAR_SPARE
_CONTEXTS: Final = 1000
_POPULAR: WeakKeyDictionary[Catalogue, Bounded[Context, list[Row]]] = WeakKeyDictionary()
"""Popular queries by context, made ready once an artefact; some 10 kB a context."""


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


def request_triggers(
    behaviour: Sequence[BehaviourEntry], profile: Mapping[str, str], catalogue: Catalogue
) -> list[LiveTrigger]:
    """Return what a request looks at: the latest triggers, or the segment of who has done nothing."""
    return live_triggers(behaviour, catalogue, CO_CLICK_TRIGGERS) or segment_triggers(profile)


def referrer_trigger(query: str, catalogue: Catalogue, now: float) -> LiveTrigger:
    """Return what a search elsewhere stands for: that query here, else the category of what it finds here."""
    category = catalogue.query_category(normalise(query))
    key = query_trigger(query)
    return LiveTrigger((key,) if not category else (key, category_trigger(category)), now)


def bought_lately(behaviour: Sequence[BehaviourEntry], catalogue: Catalogue, since: float) -> AbstractSet[str]:
    """Return the categories in which the shopper bought since then, but for those in which shoppers buy again."""
    bought = [ref for kind, ts, ref in behaviour if kind == "purchase" and ts >= since]
    categories = {catalogue.category(ref) for ref in bought}
    return {category for category in categories if category and category not in catalogue.consumable}


def refusal(
    catalogue: Catalogue, bought: AbstractSet[str] = frozenset(), *, cjk: bool = True
) -> Callable[[str], str | None]:
    """Return what says why a query is not served: the catalogue refuses it, or it is about a category in `bought`.

    Without `cjk` it is also refused in Chinese, Japanese or Korean (`reads_cjk`).
    """

    def refuse(query: str) -> str | None:
        if reason := catalogue.refuses(query):
            return reason
        if not cjk and not query.isascii() and has_cjk(query):
            return "language"
        return "bought" if bought and catalogue.query_category(query) in bought else None

    return refuse


def may_read_cjk(behaviour: Sequence[BehaviourEntry], profile: Mapping[str, str]) -> bool:
    """Whether a shopper who did this, with this profile, is shown Chinese, Japanese or Korean."""
    return reads_cjk(profile.get("locale"), (ref for kind, _, ref in behaviour if kind in QUERY_TYPES))


def refusal_of(
    behaviour: Sequence[BehaviourEntry], profile: Mapping[str, str], catalogue: Catalogue, now: float, bought_s: float
) -> Callable[[str], str | None]:
    """Return what says why a query is not served to who did this; `bought_s`: see `behaviour.bought_s`, 0 is off."""
    bought = bought_lately(behaviour, catalogue, now - bought_s) if bought_s else frozenset()
    return refusal(catalogue, bought, cjk=may_read_cjk(behaviour, profile))


def from_u2q(queries: Sequence[ScoredQuery]) -> list[Proposal]:
    """Return the queries of the shopper's own list."""
    return [Proposal("u2q", rows(queries), WEIGHT_U2Q)] if queries else []


class Written(NamedTuple):
    """When the shopper's list was written, and the best score in it: what a newer trigger leads to outweighs that."""

    at_s: float
    lead: float = WEIGHT_U2Q


def written_of(u2q: QueryList | None) -> Written | None:
    """Return what to know of a shopper's list; None if there is none."""
    if u2q is None:
        return None
    return Written(u2q.generated_ms / 1000, max([score for _, score in u2q.queries], default=WEIGHT_U2Q))


def from_x2q(
    triggers: Sequence[LiveTrigger], list_of: Callable[[Trigger], Sequence[Row] | None], written: Written | None
) -> list[Proposal]:
    """Return the queries that triggers lead to; one newer than the shopper's list outweighs it."""
    at_s, lead = written or Written(0.0)
    proposals: list[Proposal] = []
    for position, trigger in enumerate(triggers):
        fresh = trigger.ts > at_s
        weight = trigger_weight(position, fresh=fresh) * (lead if fresh else 1.0)
        for key in trigger.keys:
            found = list_of(key)
            if found is not None:
                proposals.append(Proposal("x2q", found, weight, key))
                break
    return proposals


def from_co_click(
    triggers: Sequence[LiveTrigger], catalogue: Catalogue, written: Written | None = None
) -> list[Proposal]:
    """Return what others searched after the latest triggers, scores added up over them; scored by rank.

    `trigger` is the one that says most for a query. What one newer than the shopper's list leads to is scored by rank
    within it, and outweighs the list, as x2q does: few triggers have an x2q list.
    """
    keys_of: dict[str, str] = {}
    scores: dict[str, float] = {}
    best: dict[str, tuple[float, Trigger]] = {}
    fresh: dict[Trigger, float] = {}
    for position, trigger in enumerate(triggers):
        key, found = catalogue.co_click.first(trigger.keys)
        weight = TRIGGER_DECAY**position
        if written is not None and trigger.ts > written.at_s:
            fresh.setdefault(key, written.lead * trigger_weight(position, fresh=True))
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
    for key in fresh.keys() & by_trigger.keys():
        by_trigger[key] = [(near, query, rank_score(rank)) for rank, (near, query, _) in enumerate(by_trigger[key])]
    weight = catalogue.calibration.co_click
    return [Proposal("co_click", some, fresh.get(key, weight), key) for key, some in by_trigger.items()]


def from_text(triggers: Sequence[LiveTrigger], catalogue: Catalogue, written: Written | None = None) -> list[Proposal]:
    """Return queries that share words with the latest items and queries that the logs do not tell; scored by rank.

    The first one of a trigger newer than the shopper's list has a place in it.
    """
    proposals: list[Proposal] = []
    for position, trigger in enumerate(triggers):
        key, found = catalogue.text.first(trigger.keys[:1])
        if found:
            of_query = TEXT_OF_QUERY if trigger_kind(key) == "query" else 1.0
            weight = catalogue.calibration.text * TRIGGER_DECAY**position * of_query
            if written is not None and trigger.ts > written.at_s:
                weight = written.lead * WEIGHT_FRESH_TEXT * TRIGGER_DECAY**position
            proposals.append(Proposal("text", found, weight, key))
    return proposals


def from_popular(catalogue: Catalogue, profile: Mapping[str, str], limit: int, now: float) -> list[Proposal]:
    """Return up to `limit` (at most `POPULAR_MADE`) queries that are popular with such shoppers at such a time."""
    context = catalogue.popular.context(profile, now)
    made = _POPULAR.get(catalogue)
    if made is None:
        made = _POPULAR.setdefault(catalogue, Bounded(_CONTEXTS))
    found = made.get(context)
    if found is None:
        found = made.put(context, rows(catalogue.popular.ranked(context, POPULAR_MADE)))
    return [Proposal("popular", found[:limit], catalogue.calibration.popular)]
