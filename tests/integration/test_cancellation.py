"""Requests that end at any moment: no answer crosses over to another shopper, and no connection is lost."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable

import orjson

from service.contracts.codecs import BehaviourEntry, encode_behaviour
from service.contracts.keys import query_trigger, shopper_sid
from service.contracts.settings import Settings
from service.hintq import HintsQuery, answer
from service.pipelined import PipelinedRedis
from service.recall.x2q import X2QReader
from service.state import State, open_state
from tests.integration.support import eventually_async, query_list

REQUESTS = 10_000
_AT_ONCE = 40
_FLIP_EVERY = 1_000
_LONGEST_S = 0.005
LISTS = {"ann": ("sleeping bag", "tent pole"), "bob": ("desk lamp", "office chair")}
SEARCHED = {"ann": ("camping trip", "mountain hut"), "bob": ("home office", "night shift")}
VERSIONS = ("amber", "beige", "coral", "denim", "ebony", "flame", "green", "hazel", "ivory", "khaki")


def _led_to(searched: str, version: str) -> str:
    return f"{searched} {version}"


def _query(user_id: str, number: int) -> HintsQuery:
    return HintsQuery(f"request-{number}", user_id, 8, budget_ms=5000)


async def _store(state: State) -> None:
    """Store both shoppers' lists and behaviour."""
    for user_id, queries in LISTS.items():
        sid = shopper_sid(user_id)
        await state.poll_redis.set(state.keys.u2q(sid), query_list(sid, *queries), ex=600)
        entries = [encode_behaviour(sid, BehaviourEntry("search", 1.0, query)) for query in SEARCHED[user_id]]
        await state.poll_redis.lpush(state.keys.behaviour(sid), *entries)
        await state.poll_redis.expire(state.keys.behaviour(sid), 600)


async def _flip(state: State, version: str) -> None:
    for query in sum(SEARCHED.values(), ()):
        trigger = query_trigger(query)
        value = query_list(trigger, _led_to(query, version))
        await state.poll_redis.set(state.keys.x2q(version, trigger), value, ex=600)
    await state.poll_redis.set(state.keys.x2q_pointer(), version)
    await state.poll()
    assert state.x2q_version == version


async def _asked(state: State, user_id: str, number: int) -> str:
    """Ask, and return `right`, `right with x2q`, or what was wrong."""
    body = orjson.loads((await answer(state, _query(user_id, number))).body)
    found = {source: {hint["query"] for hint in body["hints"] if hint["source"] == source} for source in ("u2q", "x2q")}
    allowed = [{_led_to(query, version) for query in SEARCHED[user_id]} for version in VERSIONS]
    shown = {hint["query"] for hint in body["hints"]}
    if body["degraded"] or found["u2q"] != set(LISTS[user_id]) or shown & set(SEARCHED[user_id]):
        return f"{user_id} was told {body}"
    if not any(found["x2q"] <= one for one in allowed):
        return f"{user_id} was led to {found['x2q']}"
    return "right with x2q" if found["x2q"] else "right"


async def _at_rest(state: State) -> bool:
    return state.reader.waiting == 0 and not state.x2q._reads


async def test_cancelled_requests_cross_nothing_and_lose_nothing(make_settings: Callable[..., Settings]) -> None:
    """Ten thousand of two shoppers, each given up after a random moment, forty at a time, over ten versions of x2q.

    The cache holds fewer lists than the two need, so that lists are read all the time.
    """
    chance, outcomes = random.Random(7), Counter[str]()
    settings = make_settings()
    settings = settings.model_copy(update={"redis": settings.redis.model_copy(update={"read_timeout_ms": 5000})})
    async with open_state(settings) as state:
        state.x2q = X2QReader(state.reader, state.keys, cache_size=3)
        await _store(state)

        async def give_up(number: int) -> None:
            asking = asyncio.create_task(_asked(state, chance.choice(list(LISTS)), number))
            await asyncio.wait([asking], timeout=chance.uniform(0, _LONGEST_S))
            asking.cancel()
            try:
                outcomes[await asking] += 1
            except asyncio.CancelledError:
                outcomes["cancelled"] += 1

        assert isinstance(state.reader, PipelinedRedis)
        await state.reader.execute("PING")
        link = state.reader._link
        for start in range(0, REQUESTS, _AT_ONCE):
            if start % _FLIP_EVERY == 0:
                await _flip(state, VERSIONS[start // _FLIP_EVERY])
            await asyncio.gather(*(give_up(number) for number in range(start, start + _AT_ONCE)))
        assert set(outcomes) <= {"cancelled", "right", "right with x2q"}, outcomes
        assert min(outcomes["cancelled"], outcomes["right with x2q"]) > REQUESTS / 100, outcomes
        await eventually_async(lambda: _at_rest(state))
        for number in range(100):
            assert await _asked(state, ("ann", "bob")[number % 2], REQUESTS + number) == "right with x2q"
        assert state.reader._link is link
        assert link is not None
        assert not link.lost
        assert state.breaker.state == "closed"
        await state.poll_redis.delete(state.keys.x2q_pointer())
