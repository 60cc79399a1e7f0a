"""Latencies count from when a request was due: a server that stalls is not spared."""

import asyncio
import contextlib

import pytest

from workers.bench.constant_rate import Answers, Message, ask

ANSWER = b"HTTP/1.1 200 OK\r\nserver-timing: shopper;dur=0.10, total;dur=3.50\r\ncontent-length: 2\r\n\r\n[]"


async def _asked(stall_s: float, requests: int, rate: float, answer: bytes = ANSWER) -> Answers:
    """Ask a server of one connection that stalls once, at its first request."""
    stalls = [stall_s]

    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                await asyncio.sleep(stalls.pop() if stalls else 0)
                writer.write(answer)
        writer.close()
        gone.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        return await ask(f"http://127.0.0.1:{port}", rate, requests, 1, lambda number: Message(f"/{number}"))
    finally:
        server.close()
        await gone.wait()


async def test_a_stall_counts_for_every_request_that_was_due_meanwhile() -> None:
    """A closed loop would tell of one slow request; fifty were due while the server stood still."""
    answers = await _asked(stall_s=0.5, requests=60, rate=100.0)
    assert len(answers.latencies_ms) == 60
    assert answers.percentile(0.5) > 100
    assert max(answers.latencies_ms) >= 500
    assert answers.failed == 0


async def test_the_wire_counts_from_when_a_request_was_sent() -> None:
    """One request is slow; those that waited for their turn are not, since the server had not heard of them."""
    answers = await _asked(stall_s=0.2, requests=20, rate=100.0)
    assert answers.later_on_the_wire_than(190) == 1
    assert sum(latency > 100 for latency in answers.latencies_ms) > 5
    assert len(answers.wire_ms) == 20


def test_a_message_with_a_body_is_a_post() -> None:
    """Feast wants one."""
    assert Message("/a?b=c").encoded("h:1") == b"GET /a?b=c HTTP/1.1\r\nHost: h:1\r\n\r\n"
    head, _, body = Message("/a", b"{}").encoded("h:1").partition(b"\r\n\r\n")
    assert head.startswith(b"POST /a HTTP/1.1\r\n")
    assert b"Content-Length: 2" in head
    assert body == b"{}"


async def test_the_servers_own_clock_is_read() -> None:
    """From Server-Timing; and answers that are no 200 are counted."""
    answers = await _asked(0.0, 5, 1000.0)
    assert answers.server_ms == [3.5] * 5
    assert answers.later_than(3.0) == 5
    assert answers.later_than(3.5) == 0
    refused = await _asked(0.0, 5, 1000.0, ANSWER.replace(b"200 OK", b"503 Busy"))
    assert refused.failed == 5


def test_percentiles_are_of_the_sorted() -> None:
    """The share that did not exceed it."""
    answers = Answers(100, latencies_ms=[float(value) for value in range(100, 0, -1)])
    assert answers.percentile(0.5) == pytest.approx(51)
    assert answers.percentile(0.99) == 100
