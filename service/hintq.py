"""HintQ: one request's way from shopper to hints, inside one deadline. Whatever is down, there is an answer."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import orjson

from service.contracts.codecs import BehaviourEntry
from service.contracts.errors import StoreUnavailable
from service.contracts.keys import shopper_sid
from service.deadline import Deadline
from service.explain import Explainer, as_json
from service.metrics import DEGRADED, EXPLORED, HINTS, RECALL, RECALLED, STORE_ERRORS, U2Q_AGE
from service.ranking.candidates import (
    CO_CLICK_TRIGGERS,
    MAX_TRIGGERS,
    POPULAR_SPARE,
    RECENT_EVENTS,
    LiveTrigger,
    Written,
    referrer_trigger,
    refusal_of,
    request_triggers,
    written_of,
)
from service.ranking.diversity import WINDOW, diversify
from service.ranking.explore import POOL, explore
from service.ranking.merge import Candidate, Proposal, merge, recent_searches
from service.recall import co_click, popular, text, u2q
from service.recall.u2q import Shopper
from service.state import State

# Looking a label up costs more than counting; sources and arms are few.
_shown = lru_cache(maxsize=256)(HINTS.labels)
_recalled = lru_cache(maxsize=16)(RECALLED.labels)
_U2Q_SECONDS, _X2Q_SECONDS = RECALL.labels("u2q"), RECALL.labels("x2q")
# Kept back for merging and answering, so that recall ends before the budget does.
_RESERVE_S = 0.003


@dataclass(frozen=True, slots=True)
class HintsQuery:
    """What is asked: `user_id` is None for an anonymous shopper; `actions` came inline, newest first.

    `referrer`: the search elsewhere that led here. `explain`: the answer also tells of every candidate that was not
    shown, and why.
    """

    request_id: str
    user_id: str | None
    k: int
    budget_ms: float
    exclude: Collection[str] = ()
    actions: Sequence[BehaviourEntry] = ()
    profile: Mapping[str, str] = field(default_factory=dict)
    referrer: str | None = None
    explain: bool = False


@dataclass(slots=True)
class Answer:
    """The response body and how long each stage took (`Server-Timing`)."""

    body: bytes
    timing: str


async def answer(state: State, query: HintsQuery) -> Answer:
    """Recall, merge, perhaps explore, and answer; log what was served."""
    arm = state.experiments.arm_of(query.user_id or query.request_id)
    deadline = Deadline(query.budget_ms)
    started = time.perf_counter()
    degraded: list[str] = []
    shopper = await _read_shopper(state, query, deadline, degraded)
    read_at = time.perf_counter()
    behaviour = [*query.actions, *shopper.behaviour]
    profile = {**shopper.profile, **query.profile}

    proposals = u2q.recall(shopper.u2q) if "u2q" in arm.sources else []
    triggers = _triggers(state, query, behaviour, profile)
    written = written_of(shopper.u2q)
    if "x2q" in arm.sources:
        proposals += await _recall_x2q(state, triggers[:MAX_TRIGGERS], written, deadline, degraded)
    recalled_at = time.perf_counter()
    if "co_click" in arm.sources:
        proposals += co_click.recall(state.catalogue, triggers, written)
    if "text" in arm.sources:
        proposals += text.recall(state.catalogue, triggers, written)
    proposals += popular.recall(state.catalogue, profile, query.k + POPULAR_SPARE, time.time())
    exclude = [*query.exclude, *recent_searches([(entry.type, entry.ref) for entry in behaviour])]
    pool = POOL if arm.exploration else WINDOW if arm.diversity else 0
    explainer = None
    if query.explain:
        seen = await _times_seen(state, query, deadline, degraded)
        origins = shopper.u2q.origins if shopper.u2q is not None else {}
        explainer = Explainer(proposals, triggers, seen, state.catalogue, origins)
    ranked = merge(
        proposals, query.k, exclude, pool=pool, trigger_share=arm.trigger_share, category_share=arm.category_share,
        source_share=arm.source_share, category=state.catalogue.query_category, tired=shopper.tired,
        dropped=None if explainer is None else explainer.drop,
        refuse=refusal_of(behaviour, profile, state.catalogue, time.time(), state.settings.behaviour.bought_s),
    )  # fmt: skip
    if arm.diversity:
        ranked = diversify(ranked, query.k, arm.diversity, state.catalogue.query_category, shopper.tired)
    hints, propensity = explore(ranked, query.k, arm.exploration, state.chance)
    if hints != ranked[: query.k]:
        EXPLORED.labels(arm.name).inc()
    age_s = None
    if shopper.u2q is not None:
        age_s = round(max(0.0, time.time() - shopper.u2q.generated_ms / 1000), 3)
        U2Q_AGE.observe(age_s)
    _U2Q_SECONDS.observe(read_at - started)
    _X2Q_SECONDS.observe(recalled_at - read_at)
    _count(proposals, hints, degraded, arm.name)
    shown = [as_json(hint) for hint in hints]
    policy = state.experiments.policies[arm.name] + state.catalogue.calibration.ending
    state.served.append(_served_line(query, shown, propensity, arm.name, policy, consent=shopper.consent))
    content: dict[str, Any] = {
        "request_id": query.request_id,
        "hints": shown,
        "experiment": arm.name,
        "degraded": degraded,
        "age_s": age_s,
    }
    if explainer is not None:
        content["explained"] = explainer.told(hints, ranked, propensity)
    body = orjson.dumps(content)
    merged_at = time.perf_counter()
    read, recalled, merged = (
        1000 * (read_at - started),
        1000 * (recalled_at - read_at),
        1000 * (merged_at - recalled_at),
    )
    return Answer(body, f"shopper;dur={read:.2f}, x2q;dur={recalled:.2f}, merge;dur={merged:.2f}, ")


def _count(proposals: Sequence[Proposal], hints: Sequence[Candidate], degraded: Sequence[str], arm: str) -> None:
    for source in degraded:
        DEGRADED.labels(source).inc()
    for source in {proposal.source for proposal in proposals if proposal.rows}:
        _recalled(source).inc()
    sources = [hint.source for hint in hints]
    for source in set(sources):
        _shown(source, arm).inc(sources.count(source))


def _triggers(
    state: State, query: HintsQuery, behaviour: Sequence[BehaviourEntry], profile: Mapping[str, str]
) -> list[LiveTrigger]:
    triggers = request_triggers(behaviour, profile, state.catalogue)
    if query.referrer is None:
        return triggers
    return [referrer_trigger(query.referrer, state.catalogue, time.time()), *triggers][:CO_CLICK_TRIGGERS]


async def _read_shopper(state: State, query: HintsQuery, deadline: Deadline, degraded: list[str]) -> Shopper:
    if query.user_id is None:
        return Shopper()
    remaining = deadline.remaining_s() - _RESERVE_S
    if remaining <= 0 or not state.may_read():
        degraded.append("u2q")
        return Shopper()
    sid, fatigue_after = shopper_sid(query.user_id), state.settings.behaviour.fatigue_after
    try:
        shopper = await u2q.read_shopper(state.reader, state.keys, sid, RECENT_EVENTS, fatigue_after, remaining)
    except StoreUnavailable:
        state.breaker.failure()
        STORE_ERRORS.labels("u2q").inc()
        degraded.append("u2q")
        return Shopper()
    state.breaker.success()
    state.stale.look(query.user_id, shopper)
    return shopper


async def _times_seen(
    state: State, query: HintsQuery, deadline: Deadline, degraded: Sequence[str]
) -> Mapping[str, int] | None:
    """Return how often each near key was seen, where somebody asks why: a round trip of its own."""
    if query.user_id is None:
        return {}
    remaining = deadline.remaining_s() - _RESERVE_S
    if "u2q" in degraded or remaining <= 0:
        return None
    try:
        return await u2q.read_times_seen(state.reader, state.keys, shopper_sid(query.user_id), remaining)
    except StoreUnavailable:
        STORE_ERRORS.labels("seen").inc()
        return None


async def _recall_x2q(
    state: State, triggers: Sequence[LiveTrigger], written: Written | None, deadline: Deadline, degraded: list[str]
) -> list[Proposal]:
    version = state.x2q_version  # captured once: a flip never mixes versions within a request
    if not triggers:
        return []
    if version is None:
        degraded.append("x2q")
        return []
    missing = state.x2q.missing(version, triggers)
    before = state.x2q_before() if missing else None
    if before is not None and state.breaker.state == "closed" and state.x2q.knows(before, triggers):
        state.x2q.begin(version, missing)  # for the next request; this one does not wait
        version, missing = before, []
    remaining = deadline.remaining_s() - _RESERVE_S
    if missing and (remaining <= 0 or not state.may_read()):
        degraded.append("x2q")
    elif missing:
        try:
            await state.x2q.fetch(version, missing, remaining)
            state.breaker.success()
        except StoreUnavailable:
            state.breaker.failure()
            STORE_ERRORS.labels("x2q").inc()
            degraded.append("x2q")
    return state.x2q.recall(version, triggers, written)


def _served_line(
    query: HintsQuery,
    shown: Sequence[Mapping[str, Any]],
    propensity: Sequence[float],
    arm: str,
    policy: str,
    *,
    consent: bool,
) -> dict[str, Any]:
    user_id = query.user_id if consent else None
    return {
        "event_id": query.request_id,
        "user_id": user_id or f"anonymous:{query.request_id}",
        "ts": round(time.time(), 3),
        "type": "hint_served",
        "request_id": query.request_id,
        "queries": [hint["query"] for hint in shown],
        "sources": [hint["source"] for hint in shown],
        "scores": [hint["score"] for hint in shown],
        "propensity": propensity,
        "arm": arm,
        "policy": policy,
    }
