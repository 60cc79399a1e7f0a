"""Nonsense gets a problem with an id, and the service lives on."""

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.integration.support import PROBLEM, Shopper, send

SEARCH = {"user_id": "u1", "type": "search", "query": "tent"}
HUGE = "x" * 10_000
JSON = {"content-type": "application/json"}


def _assert_problem(answer: httpx.Response, *statuses: int) -> dict[str, Any]:
    assert answer.status_code in statuses, answer.text[:500]
    assert answer.headers["content-type"] == PROBLEM
    body: dict[str, Any] = answer.json()
    assert body["status"] == answer.status_code
    assert body["title"]
    assert body["detail"]
    assert body["request_id"] == answer.headers["x-request-id"]
    assert len(answer.content) < 5000, "a problem does not send back what it was sent"
    return body


@pytest.fixture(autouse=True)
def _alive_afterwards(client: httpx.Client) -> Iterator[None]:
    yield
    assert client.get("/healthz").json() == {"status": "alive"}
    assert send(client, "POST", "/v1/events", {**SEARCH, "user_id": "u-alive"}).status_code == 202


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b'{"user_id": "u1",', b"\xff\xfe", b"not json", b'{"a":1}}', b"[" * 100_000, b'"\\ud800', b"\x00",
     b"1" * 5000],
)  # fmt: skip
def test_a_body_that_is_no_json(client: httpx.Client, content: bytes) -> None:
    """On both routes that read their body themselves, and on the one that does not."""
    _assert_problem(client.post("/v1/events", content=content, headers=JSON), 400, 422)
    _assert_problem(client.post("/v1/hints", content=content, headers=JSON), 400, 422)
    _assert_problem(client.put("/v1/shoppers/u1/profile", content=content, headers=JSON), 400, 422)


@pytest.mark.parametrize(
    "event",
    [
        None, 7, "search", [], {}, [[]], [None],
        {**SEARCH, "type": "look"}, {**SEARCH, "type": HUGE}, {**SEARCH, "type": "\ud800"}, {**SEARCH, "type": []},
        {**SEARCH, "query": HUGE}, {**SEARCH, "query": "\x00"}, {**SEARCH, "query": "\ud800"},
        {**SEARCH, "query": "\u202e\u200b"}, {**SEARCH, "query": None},
        {**SEARCH, "user_id": HUGE}, {**SEARCH, "user_id": ""}, {**SEARCH, "user_id": "a\x00"},
        {**SEARCH, "user_id": "a\u202eb"}, {**SEARCH, "user_id": "\ud800"}, {"type": "search", "query": "tent"},
        {**SEARCH, "ts": 10**30}, {**SEARCH, "ts": "\ud800"}, {**SEARCH, HUGE: 1}, {**SEARCH, "\ud800": 1},
        {"user_id": "u1", "type": "click", "item_id": "i", "quantity": 10**40},
        [SEARCH] * 501, [{}] * 500,
    ],
)  # fmt: skip
def test_events_that_are_none(client: httpx.Client, event: object) -> None:
    """422 with what is wrong, however strange."""
    answer = send(client, "POST", "/v1/events", event)
    if event == [{}] * 500:
        assert answer.status_code == 422
        return
    _assert_problem(answer, 422)


@pytest.mark.parametrize("ts", ["1e400", "-1", "NaN", "Infinity", "1" + "0" * 400, "true", "1e308"])
def test_numbers_that_are_no_time(client: httpx.Client, ts: str) -> None:
    """As JSON writers of other languages write them."""
    content = f'{{"user_id": "u1", "type": "search", "query": "tent", "ts": {ts}}}'
    _assert_problem(client.post("/v1/events", content=content, headers=JSON), 400, 422)


def test_a_batch_of_exactly_500(client: httpx.Client, shopper: Shopper) -> None:
    """The limit itself is allowed."""
    answer = send(client, "POST", "/v1/events", [{**SEARCH, "user_id": shopper.user_id}] * 500)
    assert answer.json() == {"accepted": 500, "rejected": []}


def test_control_and_bidi_characters_are_removed_from_queries(client: httpx.Client, shopper: Shopper) -> None:
    """What is left is what was meant; half an emoji is cut off."""
    for query in ("ca\x00mping", "\u202ecamping\u202c", "cam\u200bping", "camping\ud83d"):
        assert (
            send(client, "POST", "/v1/events", {**SEARCH, "user_id": shopper.user_id, "query": query}).status_code
            == 202
        )
    assert shopper.behaviour() == [("search", "camping")] * 4


@pytest.mark.parametrize("path", ["/v1/events", "/v1/hints", "/v1/shoppers/u1/profile"])
@pytest.mark.parametrize("announced", [True, False], ids=["with length", "chunked"])
def test_a_body_over_a_megabyte(client: httpx.Client, path: str, announced: bool) -> None:  # noqa: FBT001
    """413, announced or not."""
    content = b" " * 1_100_000 if announced else (b" " * 50_000 for _ in range(22))
    method = "PUT" if path.endswith("profile") else "POST"
    _assert_problem(client.request(method, path, content=content, headers=JSON), 413)


@pytest.mark.parametrize(
    "params",
    [
        {"user_id": ""}, {"user_id": HUGE}, {"user_id": "a\x00b"}, {"user_id": "u1", "k": 0},
        {"user_id": "u1", "k": 1000}, {"user_id": "u1", "k": -1}, {"user_id": "u1", "k": "many"},
        {"user_id": "u1", "budget_ms": -5}, {"user_id": "u1", "budget_ms": 0}, {"user_id": "u1", "budget_ms": "soon"},
        {"user_id": "u1", "exclude": HUGE}, {"user_id": "u1", "exclude": "\x00"},
        {"user_id": "u1", "exclude": ["tent"] * 101},
    ],
)  # fmt: skip
def test_hints_asked_wrongly(client: httpx.Client, params: dict[str, Any]) -> None:
    """422, by parameter."""
    _assert_problem(client.get("/v1/hints", params=params), 422)


@pytest.mark.parametrize(
    "content",
    [
        [], None, {"k": 0}, {"k": 51}, {"budget_ms": -1}, {"budget_ms": 10**9}, {"actions": [{"type": "look"}]},
        {"actions": [{"type": "search", "query": "tent"}] * 51}, {"user_id": HUGE}, {"profile": {"Segment": "x"}},
        {"profile": {"\ud800": "x"}}, {"profile": {"a": 1}}, {"profile": {f"f{n}": "x" for n in range(21)}},
        {"exclude": ["x"] * 101}, {"\ud800": 1}, {HUGE: 1},
    ],
)  # fmt: skip
def test_inline_hints_asked_wrongly(client: httpx.Client, content: object) -> None:
    """422, by field."""
    _assert_problem(send(client, "POST", "/v1/hints", content), 422)


@pytest.mark.parametrize(
    "update",
    [
        [], None, {"consent": "perhaps"}, {"fields": {"segment": HUGE}}, {"fields": {"segment": None}},
        {"fields": {"\ud800": "x"}}, {"fields": {HUGE: "x"}}, {"fields": []}, {"consnet": True},
    ],
)  # fmt: skip
def test_profiles_that_are_none(client: httpx.Client, update: object) -> None:
    """422, and nothing is stored."""
    _assert_problem(send(client, "PUT", "/v1/shoppers/u1/profile", update), 422)


@pytest.mark.parametrize("user_id", ["x" * 10_000, "a%00b", "%20", "a%E2%80%AE"])
def test_shoppers_that_cannot_be(client: httpx.Client, user_id: str) -> None:
    """The same rules in a path."""
    _assert_problem(client.delete(f"/v1/shoppers/{user_id}"), 422)
    _assert_problem(send(client, "PUT", f"/v1/shoppers/{user_id}/profile", {}), 422)


def test_paths_and_methods_that_are_not_there(client: httpx.Client) -> None:
    """Problems like all others."""
    _assert_problem(client.get("/v1/nothing"), 404)
    _assert_problem(client.delete("/v1/hints"), 405)


@pytest.mark.parametrize("value", [b"soon", b"-1", b"0", b"\xb2", b"1" * 5000, b"", b"9" * 30])
def test_a_proxy_header_that_is_no_number_is_ignored(client: httpx.Client, value: bytes) -> None:
    """Envoy's header is advice, not input to trust."""
    headers = [(b"x-envoy-expected-rq-timeout-ms", value)]
    answer = client.get("/v1/hints", params={"user_id": "u1"}, headers=headers)
    assert answer.status_code == 200
    assert answer.json()["hints"]


def test_refusals_are_quick(client: httpx.Client) -> None:
    """A megabyte of nonsense costs little."""
    started = time.perf_counter()
    _assert_problem(send(client, "POST", "/v1/events", {**SEARCH, "query": "\u0301" * 160_000}), 422)
    assert time.perf_counter() - started < 2
