"""`GET /v1/hints` is answered before routing: what the rest of the app does for a request, it must not miss."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.integration.support import eventually, free_port, service

ORIGIN = "https://shop.example"
BODY_BYTES = 1000
IN_FLIGHT = 2


@pytest.fixture(scope="module")
def client(artefact_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Run a service for another site's pages, without a Redis."""
    log = tmp_path_factory.mktemp("service") / "service.log"
    limits = {"SERVICE_MAX_BODY_BYTES": BODY_BYTES, "SERVICE_MAX_CONCURRENCY": IN_FLIGHT}
    with service(free_port(), artefact_root, log, SERVICE_CORS_ORIGINS=f'["{ORIGIN}"]', **limits) as running:
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


def test_pages_of_other_sites_may_read_refusals(client: httpx.Client) -> None:
    """Too long a body and too many at once, with when to come back; the gate refuses them before all else."""
    long = client.post("/v1/hints", content=b" " * (BODY_BYTES + 1), headers={"origin": ORIGIN})
    assert long.status_code == 413
    assert long.headers["access-control-allow-origin"] == ORIGIN
    with ExitStack() as exits:
        for _ in range(IN_FLIGHT):  # who has announced a body, and does not send it
            held = exits.enter_context(socket.create_connection((client.base_url.host, client.base_url.port)))
            held.sendall(b"POST /v1/hints HTTP/1.1\r\nhost: shop\r\ncontent-length: 9\r\n\r\n")
        shed = eventually(lambda: _refused(client))
    assert shed.headers["access-control-allow-origin"] == ORIGIN
    assert "retry-after" in shed.headers["access-control-expose-headers"]
    assert shed.headers["retry-after"] == "1"
    eventually(lambda: not _refused(client))


def _refused(client: httpx.Client) -> httpx.Response | None:
    answer = client.get("/v1/hints", headers={"origin": ORIGIN})
    return answer if answer.status_code == 503 else None


def test_other_methods_are_routed(client: httpx.Client) -> None:
    """The shortcut is for GET alone."""
    assert client.delete("/v1/hints").status_code == 405
    assert client.post("/v1/hints", json={"k": 2}).status_code == 200


def _counted(client: httpx.Client, line: str) -> float:
    found = [one for one in client.get("/metrics").text.splitlines() if one.startswith(line)]
    return float(found[0].removeprefix(line)) if found else 0.0
