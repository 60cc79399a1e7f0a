"""What is under our keys and cannot be ours: a miss, counted by kind and reason, and the rest is used."""

import uuid
from collections.abc import Callable, Iterator

import httpx
import pytest
from pydantic import SecretStr
from redis import Redis

from service.clustered import open_pipelined
from service.contracts.codecs import (
    MAX_VALUE_BYTES,
    BehaviourEntry,
    Profile,
    encode_behaviour,
    encode_profile,
    encode_seen,
)
from service.contracts.errors import StoreUnavailable
from service.contracts.keys import Keys
from service.contracts.settings import RedisSettings, Settings
from service.recall.u2q import read_shopper
from tests.integration.conftest import NAMESPACE, PARTITIONS
from tests.integration.support import Shopper, eventually
from tests.support import POPULAR_WITH_PARENTS

KINDS = ("u2q", "behaviour", "profile", "seen")
kinds = pytest.mark.parametrize("kind", KINDS)
TIRED, SEARCHED = "gas canister", "sleeping pad"


@pytest.fixture(scope="module", autouse=True)
def _version(client: httpx.Client, redis: "Redis[bytes]") -> Iterator[None]:
    """Have an x2q version, so that nothing is degraded for want of one."""
    pointer = Keys(NAMESPACE, PARTITIONS).x2q_pointer()
    redis.set(pointer, "empty")
    eventually(lambda: client.get("/readyz").json()["x2q_version"] == "empty")
    yield
    redis.delete(pointer)
    eventually(lambda: client.get("/readyz").json()["x2q_version"] is None)


def _key(shopper: Shopper, kind: str) -> str:
    return dict(zip(KINDS, shopper.keys.of_request(shopper.sid), strict=True))[kind]


def _fill(shopper: Shopper) -> None:
    """Store what a request reads of a shopper, so that each of the four changes the answer."""
    shopper.write_u2q(TIRED, SEARCHED, "red lamp")
    shopper.redis.lpush(
        _key(shopper, "behaviour"), encode_behaviour(shopper.sid, BehaviourEntry("search", 1.0, SEARCHED))
    )
    shopper.redis.set(
        _key(shopper, "profile"), encode_profile(shopper.sid, Profile(consent=True, fields={"segment": "parent"}))
    )
    shopper.redis.lpush(_key(shopper, "seen"), *[encode_seen(shopper.sid, TIRED)] * 5)
    _expire(shopper)


def _expire(shopper: Shopper) -> None:
    for kind in KINDS:
        shopper.redis.expire(_key(shopper, kind), 60)


def _assert_only_this_is_missing(client: httpx.Client, shopper: Shopper, kind: str) -> None:
    answer = client.get("/v1/hints", params={"user_id": shopper.user_id, "k": 4})
    assert answer.status_code == 200
    body = answer.json()
    assert body["degraded"] == []
    queries = [hint["query"] for hint in body["hints"]]
    used = {
        "u2q": "red lamp" in queries,
        "behaviour": SEARCHED not in queries,
        "profile": POPULAR_WITH_PARENTS in queries,
        "seen": queries[0] != TIRED,
    }
    if kind == "u2q":  # nothing is left that the other two could be seen by
        del used["behaviour"], used["seen"]
    assert used == {name: name != kind for name in used}


def _counted(client: httpx.Client, kind: str, reason: str) -> float:
    line = f'aigq_corrupt_values_total{{kind="{kind}",reason="{reason}"}} '
    found = [one for one in client.get("/metrics").text.splitlines() if one.startswith(line)]
    return float(found[0].removeprefix(line)) if found else 0.0


def test_nothing_is_missing_at_first(client: httpx.Client, shopper: Shopper) -> None:
    """Else the tests below could not fail."""
    _fill(shopper)
    _assert_only_this_is_missing(client, shopper, "none of them")


@kinds
def test_a_key_of_another_type_costs_only_itself(client: httpx.Client, shopper: Shopper, kind: str) -> None:
    """Someone wrote into our namespace: no outage, so the breaker stays closed for everybody."""
    _fill(shopper)
    shopper.redis.delete(_key(shopper, kind))
    shopper.redis.hset(_key(shopper, kind), "a", "b")
    _expire(shopper)
    before = _counted(client, kind, "type")
    for _ in range(10):
        _assert_only_this_is_missing(client, shopper, kind)
    assert _counted(client, kind, "type") == before + 10
    assert client.get("/readyz").json()["breaker"] == "closed"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"\x00", "json"),
        (b"{}", "shape"),
        (b'[9,"x",1,2,3]', "version"),
        (b" " * (MAX_VALUE_BYTES + 1), "size"),
        (None, "owner"),
    ],
)
@kinds
def test_a_broken_value_costs_only_itself(
    client: httpx.Client, shopper: Shopper, kind: str, raw: bytes | None, reason: str
) -> None:
    """And is counted under what it is: of a list of values, the others are read."""
    _fill(shopper)
    other = Shopper(f"u-{uuid.uuid4().hex}", shopper.redis, shopper.keys)
    _fill(other)
    key, is_list = _key(shopper, kind), kind in {"behaviour", "seen"}
    if raw is None:
        raw = other.redis.lindex(_key(other, kind), 0) if is_list else other.redis.get(_key(other, kind))
    if is_list:
        shopper.redis.lpush(key, *[raw] * 5)  # a hint is read once it was seen so often
    else:
        shopper.redis.set(key, raw, ex=60)
    before = _counted(client, kind, reason)
    _assert_only_this_is_missing(client, shopper, "none of them" if is_list else kind)
    assert _counted(client, kind, reason) == before + (5 if kind == "behaviour" else 1)


async def test_what_redis_refuses_is_no_miss(
    make_settings: Callable[..., Settings], redis: "Redis[bytes]", shopper: Shopper
) -> None:
    """A service that may not read lists must say so: a shopper without actions would be a wrong answer."""
    url = make_settings().redis.url.get_secret_value()
    name = f"half-blind-{uuid.uuid4().hex}"
    redis.acl_setuser(name, enabled=True, nopass=True, keys=["*"], commands=["+@all", "-lrange"])
    settings = RedisSettings(url=SecretStr(url.replace("//", f"//{name}:any@")))
    reader = open_pipelined(settings, 5000)
    try:
        with pytest.raises(StoreUnavailable, match="refuses"):
            await read_shopper(reader, shopper.keys, shopper.sid, 20, 5, 5.0)
    finally:
        await reader.aclose()
        redis.acl_deluser(name)
