"""`GET /v1/hints` is answered before routing: what the rest of the app does for a request, it must not miss."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.integration.support import free_port, service

ORIGIN = "https://shop.example"


@pytest.fixture(scope="module")
def client(artefact_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Run a service for another site's pages, without a Redis."""
    log = tmp_path_factory.mktemp("service") / "service.log"
    with service(free_port(), artefact_root, log, SERVICE_CORS_ORIGINS=f'["{ORIGIN}"]') as running:
        yield running


@pytest.mark.parametrize(
    ("query", "status"), [("user_id=u1", 200), ("user_id=u1&k=0", 422), ("", 200), ("user_id=u1&explain=true", 403)]
)
def test_pages_of_other_sites_may_read_every_answer(client: httpx.Client, query: str, status: int) -> None:
    """Errors too, with the id that the log has; and each is counted under its route."""
    line = f'aigq_requests_total{{route="/v1/hints",status="{status}"}} '
    before = _counted(client, line)
    answer = client.get(f"/v1/hints?{query}", headers={"origin": ORIGIN})
    assert answer.status_code == status
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert answer.headers["x-request-id"] == answer.json()["request_id"]
    assert answer.headers["content-type"] == ("application/json" if status == 200 else "application/problem+json")
    assert _counted(client, line) == before + 1


def _preflight(client: httpx.Client, origin: str) -> httpx.Response:
    asks = {"origin": origin, "access-control-request-method": "POST", "access-control-request-headers": "content-type"}
    return client.options("/v1/hints", headers=asks)


def test_a_page_may_ask_before_it_posts(client: httpx.Client) -> None:
    """JSON is no simple request, so browsers ask first: https://fetch.spec.whatwg.org/#cors-preflight-fetch."""
    allowed = _preflight(client, ORIGIN)
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == ORIGIN
    assert "POST" in allowed.headers["access-control-allow-methods"]
    assert "content-type" in allowed.headers["access-control-allow-headers"].lower()
    posted = client.post("/v1/hints", json={}, headers={"origin": ORIGIN})
    assert posted.headers["access-control-allow-origin"] == ORIGIN
    assert "x-request-id" in posted.headers["access-control-expose-headers"]


@pytest.mark.parametrize("origin", ["https://elsewhere.example", f"{ORIGIN}.elsewhere.example", "null"])
def test_a_page_of_a_foreign_site_may_read_nothing(client: httpx.Client, origin: str) -> None:
    """Its browser is told of no permission, neither before nor with an answer."""
    refused = _preflight(client, origin)
    assert refused.status_code == 400
    answers = [refused, client.get("/v1/hints", headers={"origin": origin})]
    answers.append(client.post("/v1/hints", json={}, headers={"origin": origin}))
    assert [answer.headers.get("access-control-allow-origin") for answer in answers] == [None] * 3


def test_other_methods_are_routed(client: httpx.Client) -> None:
    """The shortcut is for GET alone."""
    assert client.delete("/v1/hints").status_code == 405
    assert client.post("/v1/hints", json={"k": 2}).status_code == 200


def _counted(client: httpx.Client, line: str) -> float:
    found = [one for one in client.get("/metrics").text.splitlines() if one.startswith(line)]
    return float(found[0].removeprefix(line)) if found else 0.0
