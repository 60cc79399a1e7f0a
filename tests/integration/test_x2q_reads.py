"""Lists of triggers: many requests for a new one are one read of Redis, and what cannot be one is a miss."""

import asyncio

import httpx
import pytest
from redis import Redis

from service.contracts.codecs import MAX_VALUE_BYTES
from service.contracts.keys import Keys, query_trigger
from tests.integration.conftest import NAMESPACE, PARTITIONS, Publish
from tests.integration.support import query_list

_REQUESTS = 40


def _reads(redis: "Redis[bytes]") -> int:
    """Return how many MGET the server has seen: only x2q is read by it."""
    return int(redis.info("commandstats").get("cmdstat_mget", {}).get("calls", 0))


def _counted(client: httpx.Client, reason: str) -> float:
    line = f'aigq_corrupt_values_total{{kind="x2q",reason="{reason}"}} '
    found = [one for one in client.get("/metrics").text.splitlines() if one.startswith(line)]
    return float(found[0].removeprefix(line)) if found else 0.0


def _asked(client: httpx.Client, *searched: str) -> list[str]:
    body = client.post("/v1/hints", json={"actions": [{"type": "search", "query": one} for one in searched]}).json()
    assert body["degraded"] == []
    return [hint["query"] for hint in body["hints"] if hint["source"] == "x2q"]


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


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"\x00", "json"),
        (b"[1]", "version"),
        (b"{}", "shape"),
        (b" " * (MAX_VALUE_BYTES + 1), "size"),
        (query_list("query:lamp", "lamp oil"), "owner"),
    ],
)
def test_a_broken_list_of_a_trigger_is_a_miss(client: httpx.Client, publish: Publish, raw: bytes, reason: str) -> None:
    """Counted once a version, since what is no list is kept as such; the next trigger's list is used."""
    tent, boots = query_trigger("tent"), query_trigger("boots")
    before = _counted(client, reason)
    publish(f"foreign-{reason}", {tent: raw, boots: query_list(boots, "shoe laces")})
    for _ in range(3):
        assert _asked(client, "tent", "boots") == ["shoe laces"]
    assert _counted(client, reason) == before + 1


def test_a_trigger_of_another_type_is_absent(client: httpx.Client, redis: "Redis[bytes]", publish: Publish) -> None:
    """MGET says so itself."""
    tent, boots = query_trigger("tent"), query_trigger("boots")
    publish("foreign-type", {tent: b"", boots: query_list(boots, "shoe laces")})
    redis.delete(key := Keys(NAMESPACE, PARTITIONS).x2q("foreign-type", tent))
    redis.lpush(key, "a")
    assert _asked(client, "tent", "boots") == ["shoe laces"]
