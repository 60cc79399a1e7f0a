"""`/v1/hints`: from Redis to the search box."""

import time
from typing import Any

import httpx
import orjson
import pytest

from service.contracts.codecs import LIST_VERSION, MAX_VALUE_BYTES
from service.contracts.keys import category_trigger, item_trigger, query_trigger
from service.contracts.text import near_key
from tests.integration.conftest import Publish
from tests.integration.support import Shopper, eventually, query_list, send
from tests.support import POPULAR_WITH_ALL, POPULAR_WITH_PARENTS, TENT, TENT_CATEGORY


def _hints(client: httpx.Client, shopper: Shopper, **params: Any) -> dict[str, Any]:
    answer = client.get("/v1/hints", params={"user_id": shopper.user_id, **params})
    assert answer.status_code == 200
    body: dict[str, Any] = answer.json()
    return body


def _queries(body: dict[str, Any]) -> list[str]:
    return [hint["query"] for hint in body["hints"]]


def _metric(client: httpx.Client, line: str) -> float:
    found = [one for one in client.get("/metrics").text.splitlines() if one.startswith(line)]
    return float(found[0].rsplit(" ", 1)[1]) if found else 0.0


def test_a_stranger_gets_what_is_popular(client: httpx.Client, shopper: Shopper) -> None:
    """Nothing is known, nothing is missing: not degraded."""
    body = _hints(client, shopper)
    assert _queries(body)[0] == POPULAR_WITH_ALL
    assert {hint["source"] for hint in body["hints"]} == {"popular"}
    assert len(body["hints"]) == 10
    assert (body["degraded"], body["age_s"]) == ([], None)


def test_the_segment_decides_what_is_popular(client: httpx.Client, shopper: Shopper) -> None:
    """Once a profile is there."""
    assert POPULAR_WITH_PARENTS not in _queries(_hints(client, shopper, k=2))
    send(client, "PUT", f"/v1/shoppers/{shopper.user_id}/profile", {"fields": {"segment": "parent"}})
    assert POPULAR_WITH_PARENTS in _queries(_hints(client, shopper))


def test_the_shoppers_own_list_leads(client: httpx.Client, shopper: Shopper) -> None:
    """In its order, with its age; the rest is filled up."""
    shopper.write_u2q("sleeping pad", "gas canister")
    body = _hints(client, shopper, k=5)
    assert _queries(body)[:2] == ["sleeping pad", "gas canister"]
    assert [hint["source"] for hint in body["hints"]] == ["u2q", "u2q", "popular", "popular", "popular"]
    assert 0 <= body["age_s"] < 60


@pytest.mark.parametrize("k", [1, 3, 50])
def test_at_most_k(client: httpx.Client, shopper: Shopper, k: int) -> None:
    """Never padded, no two alike."""
    queries = _queries(_hints(client, shopper, k=k))
    assert 0 < len(queries) <= k
    assert len({near_key(query) for query in queries}) == len(queries)


def test_what_was_just_searched_is_not_suggested(client: httpx.Client, shopper: Shopper) -> None:
    """Nor what the caller excludes, in whatever number or order."""
    shopper.write_u2q("tent pegs", "gas canister", "red lamp")
    send(client, "POST", "/v1/events", {"user_id": shopper.user_id, "type": "search", "query": "Peg TENT"})
    queries = _queries(_hints(client, shopper, exclude=["lamps red", POPULAR_WITH_ALL]))
    assert queries[0] == "gas canister"
    assert {"tent pegs", "red lamp", POPULAR_WITH_ALL}.isdisjoint(queries)


def _see(client: httpx.Client, shopper: Shopper, query: str, times: int, kind: str = "hint_exposure") -> None:
    event = {"user_id": shopper.user_id, "type": kind, "query": query, "request_id": "r", "position": 0}
    assert send(client, "POST", "/v1/events", [event] * times).status_code == 202


def test_a_hint_that_is_never_clicked_tires(client: httpx.Client, shopper: Shopper) -> None:
    """It comes last from the fifth time on, however it is spelt, until the list is asked to be long."""
    shopper.write_u2q("sleeping pads", "gas canister")
    _see(client, shopper, "sleeping pads", 4)
    assert _queries(_hints(client, shopper, k=3))[0] == "sleeping pads"
    _see(client, shopper, "Pad sleeping", 1)
    assert _queries(_hints(client, shopper, k=3))[0] == "gas canister"
    assert _queries(_hints(client, shopper, k=50))[-1] == "sleeping pads"
    assert 0 < shopper.redis.ttl(shopper.keys.seen(shopper.sid)) <= 30 * 86400


def test_a_click_on_a_hint_ends_its_fatigue(client: httpx.Client, shopper: Shopper) -> None:
    """Others stay tired; the clicked one counts from nothing."""
    _see(client, shopper, "sleeping pads", 5)
    _see(client, shopper, "gas canister", 5)
    _see(client, shopper, "sleeping pads", 1, "hint_click")
    kept = shopper.redis.lrange(shopper.keys.seen(shopper.sid), 0, -1)
    assert [orjson.loads(raw)[2] for raw in kept] == ["canister gas"] * 5


def test_what_was_seen_is_bounded(client: httpx.Client, shopper: Shopper) -> None:
    """The latest hundred, whatever a front end sends."""
    for page in range(3):
        _see(client, shopper, f"lamp {page}", 50)
    assert shopper.redis.llen(shopper.keys.seen(shopper.sid)) == 100


def test_a_click_changes_the_hints_at_once(client: httpx.Client, shopper: Shopper, publish: Publish) -> None:
    """Through x2q, before any regeneration; the hint says why it is there."""
    trigger = item_trigger(TENT)
    publish("v1", {trigger: query_list(trigger, "tent footprint", "guy lines")})
    shopper.write_u2q("sleeping pad")
    assert "tent footprint" not in _queries(_hints(client, shopper))
    send(client, "POST", "/v1/events", {"user_id": shopper.user_id, "type": "click", "item_id": TENT})
    first = _hints(client, shopper)["hints"][0]
    assert (first["query"], first["source"], first["trigger"]) == ("tent footprint", "x2q", trigger)


def test_an_item_without_a_list_falls_back_to_its_category(
    client: httpx.Client, shopper: Shopper, publish: Publish
) -> None:
    """And a search has a list of its own."""
    category, query = category_trigger(TENT_CATEGORY), query_trigger("Lamp")
    publish("v2", {category: query_list(category, "tent heater"), query: query_list(query, "lamp oil")})
    send(client, "POST", "/v1/events", [
        {"user_id": shopper.user_id, "type": "search", "query": "LAMP"},
        {"user_id": shopper.user_id, "type": "click", "item_id": TENT},
    ])  # fmt: skip
    sources = {hint["query"]: hint["trigger"] for hint in _hints(client, shopper)["hints"]}
    assert sources["tent heater"] == category
    assert sources["lamp oil"] == "query:lamp"


def test_a_flip_is_noticed_and_another_triggers_list_is_a_miss(
    client: httpx.Client, shopper: Shopper, publish: Publish
) -> None:
    """The next version is served within a second or so, and a value of another owner never."""
    trigger = item_trigger(TENT)
    send(client, "POST", "/v1/events", {"user_id": shopper.user_id, "type": "click", "item_id": TENT})
    publish("v3", {trigger: query_list(trigger, "tent footprint")})
    assert _queries(_hints(client, shopper))[0] == "tent footprint"
    publish("v4", {trigger: query_list(item_trigger("other"), "wrong one")})
    eventually(lambda: "x2q" not in {hint["source"] for hint in _hints(client, shopper)["hints"]})


def test_without_any_version_x2q_is_missing(client: httpx.Client, shopper: Shopper) -> None:
    """Said only to those who would have had something from it."""
    eventually(lambda: client.get("/readyz").json()["x2q_version"] is None)
    assert _hints(client, shopper)["degraded"] == []
    send(client, "POST", "/v1/events", {"user_id": shopper.user_id, "type": "click", "item_id": TENT})
    assert _hints(client, shopper)["degraded"] == ["x2q"]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (query_list("someone-else-entirely", "not yours"), "owner"),
        (b"\x00\xff", "json"),
        (b'{"queries": ["not yours"]}', "shape"),
        (b'[%d,"x",1,1,"m","",0,"not yours",10000]' % (LIST_VERSION + 1), "version"),
        (b'[2,"x",1,1,"m","","of the last release",10000]', "version"),
        (b"", "json"),
        (b" " * (MAX_VALUE_BYTES + 1), "size"),
    ],
)
def test_a_list_that_is_not_the_shoppers_is_a_miss(
    client: httpx.Client, shopper: Shopper, raw: bytes, reason: str
) -> None:
    """Counted, and never shown."""
    line = f'aigq_corrupt_values_total{{kind="u2q",reason="{reason}"}}'
    before = _metric(client, line)
    shopper.redis.set(shopper.keys.u2q(shopper.sid), raw, ex=60)
    body = _hints(client, shopper)
    assert {hint["source"] for hint in body["hints"]} == {"popular"}
    assert _metric(client, line) == before + 1


def test_unsafe_text_in_a_list_is_not_shown(client: httpx.Client, shopper: Shopper) -> None:
    """The filter runs again at read: what a former release let through stays in Redis for days."""
    shopper.write_u2q("<script>alert(1)</script>", "call 555-123-4567", "fine lamp")
    assert _queries(_hints(client, shopper))[0] == "fine lamp"


def test_inline_behaviour_is_used_and_not_stored(client: httpx.Client, shopper: Shopper, publish: Publish) -> None:
    """For anonymous shoppers, and for known ones whose front end keeps the behaviour."""
    trigger = item_trigger(TENT)
    publish("v5", {trigger: query_list(trigger, "tent footprint", "guy lines")})
    before = {key for key in shopper.redis.scan_iter() if not key.endswith(b":events")}
    inline = {
        "actions": [{"type": "click", "item_id": TENT}, {"type": "search", "query": "guy line"}],
        "profile": {"segment": "parent"},
        "k": 12,
        "exclude": [POPULAR_WITH_ALL],
    }
    for more in ({}, {"user_id": shopper.user_id}):
        answer = send(client, "POST", "/v1/hints", {**inline, **more})
        assert answer.status_code == 200
        queries = _queries(answer.json())
        assert queries[0] == "tent footprint"
        assert POPULAR_WITH_PARENTS in queries
        assert {"guy lines", POPULAR_WITH_ALL}.isdisjoint(queries)
    assert {key for key in shopper.redis.scan_iter() if not key.endswith(b":events")} == before
    assert shopper.kept() == []


def test_inline_actions_are_newest_first_or_have_times(client: httpx.Client, publish: Publish) -> None:
    """The newest leads; times decide where there are any."""
    lamp, boots = query_trigger("lamp"), query_trigger("boots")
    publish("v6", {lamp: query_list(lamp, "lamp oil"), boots: query_list(boots, "shoe laces")})
    actions: list[dict[str, Any]] = [{"type": "search", "query": "lamp"}, {"type": "search", "query": "boots"}]
    first = send(client, "POST", "/v1/hints", {"actions": actions}).json()
    assert _queries(first)[:2] == ["lamp oil", "shoe laces"]
    timed = [{**actions[0], "ts": "2026-01-01T08:00:00Z"}, {**actions[1], "ts": "2026-01-01T09:00:00Z"}]
    assert _queries(send(client, "POST", "/v1/hints", {"actions": timed}).json())[:2] == ["shoe laces", "lamp oil"]


def test_what_was_served_is_logged(client: httpx.Client, shopper: Shopper) -> None:
    """Training joins it to what was seen by request id."""
    body = _hints(client, shopper, k=3)
    (line,) = eventually(shopper.logged)
    assert line["type"] == "hint_served"
    assert line["request_id"] == body["request_id"]
    assert line["queries"] == _queries(body)
    assert line["sources"] == ["popular"] * 3
    assert len(line["propensity"]) == len(line["scores"]) == 3


def test_headers(client: httpx.Client, shopper: Shopper) -> None:
    """Never cached, with the time of each stage and the id that the body has."""
    answer = client.get("/v1/hints", params={"user_id": shopper.user_id})
    assert answer.headers["cache-control"] == "private, no-store"
    assert answer.headers["x-request-id"] == answer.json()["request_id"]
    stages = [stage.split(";")[0].strip() for stage in answer.headers["server-timing"].split(",")]
    assert stages == ["shopper", "x2q", "merge", "total"]
    posted = send(client, "POST", "/v1/hints", {})
    assert posted.headers["cache-control"] == "private, no-store"


@pytest.mark.parametrize(
    ("k", "accepted", "encoding"),
    [
        (1, "gzip", None), (50, "gzip", "gzip"), (50, "br, gzip;q=0.5", "gzip"), (50, "deflate, gzip; q=1.0", "gzip"),
        (50, "gzip;q=0.05, br", "gzip"), (50, "gzip;q=0", None), (50, "br, gzip ; q=0.000, *", None), (50, "br", None),
    ],
)  # fmt: skip
def test_only_long_answers_are_compressed(
    client: httpx.Client, shopper: Shopper, k: int, accepted: str, encoding: str | None
) -> None:
    """A short one fits a packet as it is; and nobody gets gzip who does not ask for it, or refuses it."""
    shopper.write_u2q(*(f"sleeping pad of kind {chr(97 + i)}{chr(97 + i)}" for i in range(20)))
    params = {"user_id": shopper.user_id, "k": k}
    answer = client.get("/v1/hints", params=params, headers={"accept-encoding": accepted})
    assert answer.headers.get("content-encoding") == encoding
    assert (len(answer.content) > 1000) == (k == 50)
    assert answer.json()["hints"][0]["query"] == "sleeping pad of kind aa"
    plain = client.get("/v1/hints", params=params, headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert int(plain.headers["content-length"]) == len(plain.content)


def test_groups_of_three(client: httpx.Client, shopper: Shopper) -> None:
    """A search box rotates nine hints; what it reports of each place joins what was served there."""
    shopper.write_u2q("sleeping pads", "gas canister", "pad sleeping", "red lamp")
    body = _hints(client, shopper, k=9)
    queries = _queries(body)
    groups = [queries[at : at + 3] for at in range(0, 9, 3)]
    assert [len({near_key(query) for query in group}) for group in groups] == [3, 3, 3]
    assert len({near_key(query) for query in queries}) == 9
    base = {"user_id": shopper.user_id, "type": "hint_exposure", "request_id": body["request_id"]}
    for number, group in enumerate(groups):
        seen = [{**base, "query": query, "position": 3 * number + at} for at, query in enumerate(group)]
        assert send(client, "POST", "/v1/events", seen).json() == {"accepted": 3, "rejected": []}
    served = eventually(lambda: [line for line in shopper.logged() if line["type"] == "hint_served"])[0]
    exposed = [line for line in shopper.logged() if line["type"] == "hint_exposure"]
    assert [line["position"] for line in exposed] == list(range(9))
    assert {line["request_id"] for line in exposed} == {served["request_id"]}
    assert [served["queries"][line["position"]] for line in exposed] == [line["query"] for line in exposed]


@pytest.mark.parametrize("how", [{"params": {"budget_ms": 1}}, {"headers": {"x-envoy-expected-rq-timeout-ms": "1"}}])
def test_a_deadline_that_cannot_be_met_is_answered_in_time(
    client: httpx.Client, shopper: Shopper, how: dict[str, Any]
) -> None:
    """With what is in process, and it says what is missing."""
    shopper.write_u2q("sleeping pad")
    params = {"user_id": shopper.user_id, **how.get("params", {})}
    started = time.perf_counter()
    body = client.get("/v1/hints", params=params, headers=how.get("headers")).json()
    assert time.perf_counter() - started < 1
    assert body["degraded"] == ["u2q"]
    assert len(body["hints"]) == 10
