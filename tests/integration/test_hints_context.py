"""`/v1/hints` for anonymous and brand-new shoppers: the context alone, and behaviour sent inline."""

from typing import Any

import httpx
import pytest

from service.contracts.keys import category_trigger
from tests.integration.conftest import Publish
from tests.integration.support import query_list, send
from tests.support import POPULAR_WITH_ALL, POPULAR_WITH_PARENTS, TENT_CATEGORY


def _asked(client: httpx.Client, **params: Any) -> dict[str, Any]:
    answer = client.get("/v1/hints", params=params)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def _queries(body: dict[str, Any]) -> list[str]:
    return [hint["query"] for hint in body["hints"]]


def test_nobody_known_gets_hints(client: httpx.Client) -> None:
    """Nothing is asked for, nothing is missing."""
    body = _asked(client)
    assert _queries(body)[0] == POPULAR_WITH_ALL
    assert (len(body["hints"]), body["degraded"], body["age_s"]) == (10, [], None)


def test_the_segment_of_the_visit_decides(client: httpx.Client) -> None:
    """By GET and by POST, for an anonymous and for a brand-new shopper."""
    parent, camper = (_queries(_asked(client, segment=segment)) for segment in ("Parent", "camper"))
    assert parent.index(POPULAR_WITH_PARENTS) < (
        camper.index(POPULAR_WITH_PARENTS) if POPULAR_WITH_PARENTS in camper else len(camper)
    )
    assert _queries(_asked(client, segment="parent", user_id="brand-new")) == parent
    inline = send(client, "POST", "/v1/hints", {"profile": {"segment": "parent"}})
    assert _queries(inline.json()) == parent


@pytest.mark.parametrize(
    "context",
    [
        {"region": "Atlantis"}, {"locale": "xx-YY"}, {"segment": "x" * 900}, {"region": "\x00"}, {"locale": ""},
        {"referrer_query": "\u202e"}, {"referrer_query": "y" * 2000}, {"referrer_query": "a query that nobody knows"},
    ],
)  # fmt: skip
def test_an_impossible_context_says_nothing(client: httpx.Client, context: dict[str, str]) -> None:
    """A broken link from elsewhere leads to everyone's hints, not to an error."""
    assert _queries(_asked(client, **context)) == _queries(_asked(client))


def test_the_search_that_led_here_leads_on(client: httpx.Client, publish: Publish) -> None:
    """Nobody searched it here, but it finds tents, and their category has a list; what a link says is never shown."""
    category = category_trigger(TENT_CATEGORY)
    publish("context-1", {category: query_list(category, "tent heater")})
    for body in (
        _asked(client, referrer_query="Two Person Tents"),
        send(client, "POST", "/v1/hints", {"referrer_query": "Two Person Tents"}).json(),
    ):
        assert (body["hints"][0]["query"], body["hints"][0]["trigger"]) == ("tent heater", category)
        assert "two person tents" not in _queries(body)
