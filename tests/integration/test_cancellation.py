"""Requests that end at any moment: no answer crosses over to another shopper, and no connection is lost."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable

import orjson

from service.contracts.keys import Keys, shopper_sid
from service.contracts.settings import Settings
from service.hintq import HintsQuery, answer
from service.state import State, open_state
from tests.integration.support import eventually_async, query_list

REQUESTS = 10_000
_AT_ONCE = 40
_LONGEST_S = 0.005
LISTS = {"ann": ("sleeping bag", "tent pole"), "bob": ("desk lamp", "office chair")}


def _query(user_id: str, number: int) -> HintsQuery:
    return HintsQuery(f"request-{number}", user_id, 2, budget_ms=5000)


async def _asked(state: State, user_id: str, number: int) -> list[str]:
    body = orjson.loads((await answer(state, _query(user_id, number))).body)
    assert body["degraded"] in ([], ["x2q"])
    return [hint["query"] for hint in body["hints"]]


async def _all_answered(state: State) -> bool:
    return state.reader.waiting == 0


async def test_cancelled_requests_cross_nothing_and_lose_nothing(make_settings: Callable[..., Settings]) -> None:
    """Ten thousand of two shoppers, each given up after a random moment, forty at a time."""
    chance, outcomes = random.Random(7), Counter[str]()
    settings = make_settings()
    settings = settings.model_copy(update={"redis": settings.redis.model_copy(update={"read_timeout_ms": 5000})})
    keys = Keys(settings.redis.namespace, settings.redis.partitions)
    async with open_state(settings) as state:
        for user_id, queries in LISTS.items():
            sid = shopper_sid(user_id)
            await state.poll_redis.set(keys.u2q(sid), query_list(sid, *queries), ex=600)

        async def give_up(number: int) -> None:
            user_id = chance.choice(list(LISTS))
            asking = asyncio.create_task(_asked(state, user_id, number))
            await asyncio.wait([asking], timeout=chance.uniform(0, _LONGEST_S))
            asking.cancel()
            try:
                found = await asking
            except asyncio.CancelledError:
                outcomes["cancelled"] += 1
            else:
                outcomes["right" if found == list(LISTS[user_id]) else "wrong"] += 1

        for start in range(0, REQUESTS, _AT_ONCE):
            await asyncio.gather(*(give_up(number) for number in range(start, start + _AT_ONCE)))
        assert outcomes["wrong"] == 0
        assert min(outcomes["cancelled"], outcomes["right"]) > REQUESTS / 100, outcomes
        await eventually_async(lambda: _all_answered(state))
        for number in range(100):
            user_id = ("ann", "bob")[number % 2]
            assert await _asked(state, user_id, REQUESTS + number) == list(LISTS[user_id])
