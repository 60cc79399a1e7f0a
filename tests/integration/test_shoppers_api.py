"""`/v1/shoppers`: profile, consent, and being forgotten."""

from typing import Any

import httpx
import orjson

from service.contracts.codecs import Profile, decode_profile
from tests.integration.support import Shopper, eventually, send


def _post(client: httpx.Client, shopper: Shopper, **event: Any) -> None:
    assert send(client, "POST", "/v1/events", {"user_id": shopper.user_id, **event}).status_code == 202


def _profile(client: httpx.Client, shopper: Shopper, **update: Any) -> None:
    answer = send(client, "PUT", f"/v1/shoppers/{shopper.user_id}/profile", update)
    assert (answer.status_code, answer.content) == (204, b"")


def _mentions(shopper: Shopper) -> list[bytes]:
    """Return the stream entries that name the shopper."""
    entries: Any = shopper.redis.xrange(shopper.keys.events(shopper.partition))
    return [fields[b"e"] for _, fields in entries if orjson.dumps(shopper.user_id) in fields[b"e"]]


def test_a_profile_is_stored_and_makes_the_shopper_due(client: httpx.Client, shopper: Shopper) -> None:
    """The next list takes it into account; a later profile replaces it whole."""
    _profile(client, shopper, fields={"segment": "parent", "region": "north"})
    assert shopper.due() is not None
    _profile(client, shopper, fields={"segment": " camper\x00 "})
    raw = shopper.redis.get(shopper.keys.profile(shopper.sid))
    assert decode_profile(shopper.sid, raw) == Profile(consent=True, fields={"segment": "camper"})  # type: ignore[arg-type]
    assert shopper.seq() == 2
    assert shopper.redis.ttl(shopper.keys.profile(shopper.sid)) > 29 * 86400


def test_without_consent_what_was_known_is_erased(client: httpx.Client, shopper: Shopper) -> None:
    """Behaviour, list, profile fields and due mark."""
    _post(client, shopper, type="search", query="tent")
    _post(client, shopper, type="hint_exposure", query="lamp", request_id="r", position=0)
    _profile(client, shopper, fields={"segment": "parent"})
    shopper.write_u2q("sleeping pad")
    _profile(client, shopper, fields={"segment": "parent"}, consent=False)
    assert shopper.behaviour() == []
    assert shopper.redis.exists(shopper.keys.seen(shopper.sid)) == 0
    assert shopper.due() is None
    assert shopper.redis.exists(shopper.keys.u2q(shopper.sid)) == 0
    raw = shopper.redis.get(shopper.keys.profile(shopper.sid))
    assert decode_profile(shopper.sid, raw) == Profile(consent=False, fields={})  # type: ignore[arg-type]


def test_without_consent_nothing_new_is_kept(client: httpx.Client, shopper: Shopper) -> None:
    """Neither behaviour, nor a log line, nor a served list under the shopper's name."""
    _profile(client, shopper, consent=False)
    _post(client, shopper, type="search", query="tent")
    _post(client, shopper, type="hint_exposure", query="tent", request_id="r", position=0)
    answer = client.get("/v1/hints", params={"user_id": shopper.user_id})
    assert {hint["source"] for hint in answer.json()["hints"]} == {"popular"}
    assert shopper.behaviour() == []
    assert shopper.due() is None

    request_id = answer.json()["request_id"].encode()

    def served() -> list[bytes]:
        streams = shopper.redis.scan_iter(match="*:events")
        lines = [fields[b"e"] for key in streams for _, fields in shopper.redis.xrange(key)]
        return [line for line in lines if request_id in line]

    eventually(served)
    assert _mentions(shopper) == []


def test_consent_can_be_given_again(client: httpx.Client, shopper: Shopper) -> None:
    """From then on, as before."""
    _profile(client, shopper, consent=False)
    _profile(client, shopper, fields={"segment": "parent"})
    _post(client, shopper, type="search", query="tent")
    assert shopper.behaviour() == [("search", "tent")]
    assert shopper.due() is not None


def test_forgetting(client: httpx.Client, shopper: Shopper) -> None:
    """Nothing is left under the shopper's keys; asking twice is fine; a later visit starts anew."""
    _post(client, shopper, type="search", query="tent")
    _profile(client, shopper, fields={"segment": "parent"})
    shopper.write_u2q("sleeping pad")
    _post(client, shopper, type="hint_exposure", query="lamp", request_id="r", position=0)
    shopper.redis.hset(shopper.keys.leases(shopper.partition), shopper.sid, "a worker's")
    assert len(shopper.kept()) == 5
    for _ in range(2):
        assert client.delete(f"/v1/shoppers/{shopper.user_id}").status_code == 204
        assert shopper.kept() == []
        assert shopper.due() is None
        assert not shopper.redis.hexists(shopper.keys.leases(shopper.partition), shopper.sid)
    hints = client.get("/v1/hints", params={"user_id": shopper.user_id}).json()
    assert {hint["source"] for hint in hints["hints"]} == {"popular"}
    _post(client, shopper, type="search", query="lamp")
    assert (shopper.behaviour(), shopper.seq()) == ([("search", "lamp")], 1)
