"""Many requests for a new list are one read of Redis."""

import asyncio

import httpx
from redis import Redis

from service.contracts.keys import query_trigger
from tests.integration.conftest import Publish
from tests.integration.support import query_list

_REQUESTS = 40


def _reads(redis: "Redis[bytes]") -> int:
    """Return how many MGET the server has seen: only x2q is read by it."""
    return int(redis.info("commandstats").get("cmdstat_mget", {}).get("calls", 0))


async def test_a_stampede_is_one_read(client: httpx.Client, redis: "Redis[bytes]", publish: Publish) -> None:
    """Redis stands still while all requests come in; each gets the list all the same."""
    trigger = query_trigger("flash sale")
    publish("stampede-1", {trigger: query_list(trigger, "tent heater")})
    before = _reads(redis)
    body = {"actions": [{"type": "search", "query": "flash sale"}]}
    limits = httpx.Limits(max_connections=_REQUESTS)
    async with httpx.AsyncClient(base_url=client.base_url, limits=limits) as crowd:
        redis.execute_command("CLIENT", "PAUSE", 400, "ALL")
        answers = await asyncio.gather(*(crowd.post("/v1/hints", json=body) for _ in range(_REQUESTS)))
    assert {answer.json()["hints"][0]["query"] for answer in answers} == {"tent heater"}
    assert _reads(redis) - before == 1
