"""Shoppers for a benchmark, written to Redis as events, workers and the Think job would leave them."""

import random
import time
from collections.abc import Sequence
from typing import Final

from redis import Redis

from service.contracts.codecs import BehaviourEntry, QueryList, ScoredQuery, encode_behaviour, encode_list
from service.contracts.keys import Keys, item_trigger, shopper_sid
from service.contracts.settings import VllmSettings
from service.ranking.merge import rank_score

VERSION: Final = "bench"
ACTIONS: Final = 12
"""Recent actions of each shopper: clicks on items, so that a request has four x2q triggers."""
_BATCH: Final = 1000
_LIST: Final = 10


def shopper(number: int) -> str:
    """Return the id of a shopper."""
    return f"bench-{number}"


def fill(redis: Redis, keys: Keys, shoppers: int, items: Sequence[str], queries: Sequence[str]) -> None:
    """Write lists and behaviour of `shoppers`, and a list for each item."""
    chance = random.Random(7)  # noqa: S311  (a workload)
    now = time.time()

    def some() -> tuple[ScoredQuery, ...]:
        return tuple(ScoredQuery(query, rank_score(n)) for n, query in enumerate(chance.sample(queries, _LIST)))

    pipe = redis.pipeline(transaction=False)
    for item in items:
        value = encode_list(item_trigger(item), QueryList(0, round(now * 1000), VllmSettings().model, some()))
        pipe.set(keys.x2q(VERSION, item_trigger(item)), value)
    pipe.set(keys.x2q_pointer(), VERSION)
    pipe.execute()
    for start in range(0, shoppers, _BATCH):
        for number in range(start, min(start + _BATCH, shoppers)):
            sid = shopper_sid(shopper(number))
            pipe.set(keys.u2q(sid), encode_list(sid, QueryList(1, round(now * 1000), VllmSettings().model, some())))
            entries = [BehaviourEntry("click", now - 60 * n, chance.choice(items)) for n in range(ACTIONS)]
            pipe.rpush(keys.behaviour(sid), *(encode_behaviour(sid, entry) for entry in entries))
        pipe.execute()
