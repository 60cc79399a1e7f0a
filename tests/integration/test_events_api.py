"""`POST /v1/events`: what 202 promises."""

import time
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from service.contracts.codecs import decode_list
from tests.integration.support import PROBLEM, Shopper, send


def _post(client: httpx.Client, content: Any) -> httpx.Response:
    return send(client, "POST", "/v1/events", content)


def _search(shopper: Shopper, query: str, **more: Any) -> dict[str, Any]:
    return {"user_id": shopper.user_id, "type": "search", "query": query, **more}


def test_an_event_is_behaviour_log_line_sequence_and_due_mark(client: httpx.Client, shopper: Shopper) -> None:
    """All four are there once the answer is."""
    event = _search(shopper, "  Camping\tstove ", event_id="e1", session_id="s1")
    answer = _post(client, event)
    assert answer.status_code == 202
    assert answer.json() == {"accepted": 1, "rejected": []}
    assert shopper.behaviour() == [("search", "Camping stove")]
    assert shopper.seq() == 1
    assert shopper.due() is not None
    (line,) = shopper.logged()
    assert line.items() >= {"event_id": "e1", "session_id": "s1", "type": "search", "query": "Camping stove"}.items()
    assert abs(line["ts"] - time.time()) < 60


def test_a_batch_keeps_its_order(client: httpx.Client, shopper: Shopper) -> None:
    """Newest first in behaviour, oldest first in the log, and each counts."""
    assert _post(client, [_search(shopper, f"query {n}") for n in range(5)]).json()["accepted"] == 5
    assert [ref for _, ref in shopper.behaviour()] == [f"query {n}" for n in (4, 3, 2, 1, 0)]
    assert [line["query"] for line in shopper.logged()] == [f"query {n}" for n in range(5)]
    assert shopper.seq() == 5


def test_only_recent_behaviour_is_kept(client: httpx.Client, shopper: Shopper) -> None:
    """The log has all, behaviour the last 50, the queue one mark."""
    assert _post(client, [_search(shopper, f"query {n}") for n in range(70)]).status_code == 202
    assert len(shopper.behaviour()) == 50
    assert shopper.behaviour()[0] == ("search", "query 69")
    assert len(shopper.logged()) == 70
    assert shopper.due() is not None


def test_the_good_events_of_a_batch_are_taken(client: httpx.Client, shopper: Shopper) -> None:
    """The bad ones are named by index, with what is wrong."""
    no_item = {"user_id": shopper.user_id, "type": "click"}
    searches = [_search(shopper, query) for query in ("tent", "cut \ud83d", "\ud800", "lamp")]
    answer = _post(client, [searches[0], no_item, 7, *searches[1:]])
    assert answer.status_code == 202
    body = answer.json()
    assert body["accepted"] == 3
    assert [one["index"] for one in body["rejected"]] == [1, 2, 4]
    assert "item_id" in body["rejected"][0]["errors"][0]
    assert [ref for _, ref in shopper.behaviour()] == ["lamp", "cut", "tent"]


def test_if_no_event_is_good_nothing_is_stored(client: httpx.Client, shopper: Shopper) -> None:
    """422, each mistake by index."""
    answer = _post(client, [_search(shopper, "", event_id="x"), _search(shopper, "tent", ts="soon")])
    assert answer.status_code == 422
    assert answer.headers["content-type"] == PROBLEM
    assert [error["index"] for error in answer.json()["errors"]] == [0, 1]
    assert shopper.kept() == []


def test_an_exposure_is_logged_but_is_no_intent(client: httpx.Client, shopper: Shopper) -> None:
    """It reaches the log and what was seen, and neither behaviour nor the queue."""
    hint = {"user_id": shopper.user_id, "type": "hint_exposure", "query": "tent", "request_id": "r1", "position": 0}
    assert _post(client, hint).status_code == 202
    assert [line["request_id"] for line in shopper.logged()] == ["r1"]
    assert shopper.due() is None
    assert shopper.kept() == [shopper.keys.seen(shopper.sid).encode()]


def test_a_first_event_and_a_purchase_are_urgent(client: httpx.Client, shopper: Shopper) -> None:
    """A new shopper is due now, a busy one after a pause, a buyer now again."""
    before = time.time() * 1000
    _post(client, _search(shopper, "tent"))
    first = shopper.due()
    assert first is not None
    assert first <= time.time() * 1000
    assert first >= before - 50
    _post(client, {"user_id": shopper.user_id, "type": "purchase", "item_id": "tent-1", "price": 99, "quantity": 1})
    assert shopper.due() <= time.time() * 1000  # type: ignore[operator]


@pytest.mark.parametrize("ts", ["2001-01-01T00:00:00Z", 0, time.time() + 3600, "9999-01-01T00:00:00Z"])
def test_times_out_of_range(client: httpx.Client, shopper: Shopper, ts: object) -> None:
    """A clock that is wrong must not decide what is recent."""
    answer = _post(client, _search(shopper, "tent", ts=ts))
    assert answer.status_code == 422
    assert "ts" in answer.text
    assert shopper.kept() == []


def test_a_slightly_fast_clock_is_allowed(client: httpx.Client, shopper: Shopper) -> None:
    """Phones are off by seconds."""
    assert _post(client, _search(shopper, "tent", ts=time.time() + 20)).status_code == 202


@pytest.mark.parametrize(
    "user_id", ["anna@shop.example", "a/b", "a b", "用户", "*[x]?", "{p001}", "x" * 128, "😀" * 128]
)
def test_any_printable_id_works_everywhere(client: httpx.Client, shopper: Shopper, user_id: str) -> None:
    """Events, hints, profile and forgetting take the same ids."""
    one = Shopper(user_id, shopper.redis, shopper.keys)
    assert _post(client, _search(one, "tent")).status_code == 202
    one.write_u2q("sleeping bag")
    assert decode_list(one.sid, shopper.redis.get(one.keys.u2q(one.sid)) or b"").seq == 1
    hints = client.get("/v1/hints", params={"user_id": user_id}).json()["hints"]
    assert hints[0]["query"] == "sleeping bag"
    path = f"/v1/shoppers/{quote(user_id, safe='')}"
    assert client.put(f"{path}/profile", json={"fields": {"segment": "parent"}}).status_code == 204
    assert client.delete(path).status_code == 204
    assert one.kept() == []


def test_a_long_foreign_item_id_is_only_unknown(client: httpx.Client, shopper: Shopper) -> None:
    """An id that no catalogue could hold is stored and met again at every request for hints."""
    click = {"user_id": shopper.user_id, "type": "click", "item_id": "😀" * 128}
    assert _post(client, click).status_code == 202
    assert client.get("/v1/hints", params={"user_id": shopper.user_id}).status_code == 200
