"""What a request asks of Redis, counted by Redis itself: one EVAL, and an MGET where a trigger's list is new."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from redis import Redis

from service.contracts.codecs import BehaviourEntry, encode_behaviour
from service.contracts.keys import Keys, query_trigger
from tests.integration.support import Shopper, eventually, query_list, service, valkey

REQUESTS = 25
KEYS = Keys("aigq", 8)
SEARCHED = ("tent", "lamp", "boots", "soap")


@pytest.fixture(scope="module")
def redis() -> Iterator["Redis[bytes]"]:
    """Return a client of a Redis that only this module's service uses."""
    with valkey() as server, Redis(port=server.port) as client:
        yield client


@pytest.fixture(scope="module")
def client(
    redis: "Redis[bytes]", artefact_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    """Return a client of that service, which has an x2q version of four lists."""
    for query in SEARCHED:
        redis.set(KEYS.x2q("v1", query_trigger(query)), query_list(query_trigger(query), f"{query} kit"))
    redis.set(KEYS.x2q_pointer(), "v1")
    port = redis.connection_pool.connection_kwargs["port"]
    log = tmp_path_factory.mktemp("service") / "service.log"
    variables = {"SERVICE_BUDGET_MS": 1000, "REDIS_READ_TIMEOUT_MS": 900, "REDIS_PARTITIONS": 8}
    with service(port, artefact_root, log, **variables) as running:
        assert running.get("/readyz").json()["x2q_version"] == "v1"
        yield running


@pytest.fixture
def shopper(redis: "Redis[bytes]") -> Shopper:
    """Return a shopper with a list, who searched for what has one."""
    known = Shopper("u1", redis, KEYS)
    known.write_u2q("sleeping pad", "gas canister")
    entries = [encode_behaviour(known.sid, BehaviourEntry("search", 1.0 + at, one)) for at, one in enumerate(SEARCHED)]
    redis.delete(KEYS.behaviour(known.sid))
    redis.lpush(KEYS.behaviour(known.sid), *entries)
    return known


def _calls(redis: "Redis[bytes]") -> dict[str, int]:
    """Return how often Redis was asked; what a script asks, and the service's own polling, are told apart by name."""
    stats = redis.info("commandstats")
    return {name: int(stats.get(f"cmdstat_{name}", {}).get("calls", 0)) for name in ("eval", "evalsha", "mget", "xadd")}


def test_a_request_is_one_round_trip(client: httpx.Client, redis: "Redis[bytes]", shopper: Shopper) -> None:
    """The first one reads the lists of four triggers too, all at once; what was served is logged later."""
    before = _calls(redis)
    for number in range(REQUESTS):
        body = client.get("/v1/hints", params={"user_id": shopper.user_id}).json()
        assert body["degraded"] == []
        assert {"u2q", "x2q"} <= {hint["source"] for hint in body["hints"]}
        now = _calls(redis)
        assert {name: now[name] - before[name] for name in ("eval", "evalsha", "mget")} == {
            "eval": number + 1, "evalsha": 0, "mget": 1,
        }  # fmt: skip
    eventually(lambda: _calls(redis)["xadd"] - before["xadd"] == REQUESTS)


def test_nobody_known_costs_none(client: httpx.Client, redis: "Redis[bytes]") -> None:
    """But for the triggers that were sent along, once."""
    before = _calls(redis)
    for _ in range(REQUESTS):
        assert client.get("/v1/hints").json()["degraded"] == []
        answer = client.post("/v1/hints", json={"actions": [{"type": "search", "query": "new here"}]})
        assert answer.json()["degraded"] == []
    now = _calls(redis)
    assert {name: now[name] - before[name] for name in ("eval", "evalsha", "mget")} == {
        "eval": 0, "evalsha": 0, "mget": 1,
    }  # fmt: skip
