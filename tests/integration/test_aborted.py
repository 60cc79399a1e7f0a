"""Connections that are reset at any moment: nothing stays in flight, and nothing of it is taken for our failure."""

import random
import socket
import struct
from contextlib import suppress

import httpx

from tests.integration.support import Shopper, eventually

ABORTED = 500
_LONGEST_S = 0.005
_LINGER_NOT = struct.pack("ii", 1, 0)
"""A close that resets the connection."""


def _metric(client: httpx.Client, *parts: str) -> float:
    """Return the sum of the metrics whose line has all the parts."""
    lines = [one for one in client.get("/metrics").text.splitlines() if all(part in one for part in parts)]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if not line.startswith("#"))


def _failures(client: httpx.Client) -> float:
    return _metric(client, "aigq_requests_total{", 'status="5')


def test_aborted_connections_leave_nothing(client: httpx.Client, shopper: Shopper) -> None:
    """Five hundred that reset after a request, or in the midst of one: nothing stays in flight, and Redis is read."""
    chance, failed = random.Random(7), _failures(client)
    shopper.write_u2q("sleeping pad")
    whole = f"GET /v1/hints?user_id={shopper.user_id} HTTP/1.1\r\nhost: x\r\n\r\n".encode()
    body = b'{"actions": []}'
    posted = b"POST /v1/hints HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
    for _ in range(ABORTED):
        request = chance.choice((whole, posted))
        if chance.random() < 1 / 2:
            request = request[: chance.randrange(len(request))]
        with socket.create_connection((client.base_url.host, client.base_url.port or 0)) as connection:
            connection.sendall(request)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
            connection.settimeout(chance.uniform(0.0001, _LONGEST_S))
            with suppress(TimeoutError):  # it was too early for an answer
                connection.recv(1)
    eventually(lambda: _metric(client, "aigq_requests_in_flight ") == 1)  # the scrape itself
    assert _failures(client) == failed, "who hangs up is no failure of ours"
    told = client.get("/v1/hints", params={"user_id": shopper.user_id}).json()
    assert (told["degraded"], told["hints"][0]["query"]) == ([], "sleeping pad")
    assert client.get("/readyz").json()["breaker"] == "closed"
