"""Requests at a constant rate, whatever comes back: latencies without coordinated omission.

A closed loop waits for a slow answer before it asks again, so it never asks while the server is slow. Here request i is
due at i / rate seconds, and its latency counts from then, sent late or not (Gil Tene's wrk2 does the same). Own code,
since no such tool is packaged for Debian or PyPI.
"""

import asyncio
import os
import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import httptools

from service.contracts.errors import ConfigError
from workers.bench.common import spread

_TICK_S: Final = 0.0005
_PATIENCE_S: Final = 30.0
_TOTAL: Final = re.compile(rb"total;dur=([\d.]+)")
_HTTP_PORT: Final = 80
_OK: Final = 200


@dataclass(frozen=True)
class Message:
    """A request: a GET of `path`, or with a body of JSON a POST."""

    path: str
    body: bytes = b""

    def encoded(self, host: str) -> bytes:
        """Return the bytes to send to `host`."""
        if not self.body:
            return f"GET {self.path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        told = f"Content-Type: application/json\r\nContent-Length: {len(self.body)}"
        return f"POST {self.path} HTTP/1.1\r\nHost: {host}\r\n{told}\r\n\r\n".encode() + self.body


@dataclass
class Answers:
    """What came back to so many requests, all in ms.

    Latencies count from when a request was due; `wire_ms` from its first byte sent to the last one received, by our
    clock, so never less than what the server took; `server_ms` is what the server says of itself.
    """

    requests: int
    latencies_ms: list[float] = field(default_factory=list)
    wire_ms: list[float] = field(default_factory=list)
    server_ms: list[float] = field(default_factory=list)
    failed: int = 0
    complete: asyncio.Event = field(default_factory=asyncio.Event)

    def percentile(self, share: float) -> float:
        """Return the latency (ms) that `share` of the answers did not exceed."""
        ordered = sorted(self.latencies_ms)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def later_than(self, limit_ms: float) -> int:
        """Return how many answers took the server longer than `limit_ms`, by its clock."""
        return sum(value > limit_ms for value in self.server_ms)

    def later_on_the_wire_than(self, limit_ms: float) -> int:
        """Return how many answers took longer than `limit_ms` from the first byte sent to the last one received."""
        return sum(value > limit_ms for value in self.wire_ms)


async def ask(url: str, rate: float, requests: int, connections: int, message: Callable[[int], Message]) -> Answers:
    """Send `requests` messages to `url`, `rate` a second over at most `connections`; await all answers.

    Raises:
        TimeoutError: answers are missing long after the last request was due.
    """
    parts = urlsplit(url)
    answers, idle = Answers(requests), deque["_Connection"]()
    loop = asyncio.get_running_loop()

    def make() -> "_Connection":
        return _Connection(answers, idle)

    host, port = parts.hostname or "127.0.0.1", parts.port or _HTTP_PORT
    made = [(await loop.create_connection(make, host, port))[1] for _ in range(connections)]
    start, sent = time.perf_counter(), 0
    try:
        while sent < requests:
            now = time.perf_counter()
            while idle and sent < requests and (due := start + sent / rate) <= now:
                idle.popleft().send(message(sent).encoded(parts.netloc), due)
                sent += 1
            await asyncio.sleep(_TICK_S)
        async with asyncio.timeout(_PATIENCE_S):
            await answers.complete.wait()
    finally:
        for one in made:
            one.close()
    return answers


def measure(url: str, rate: float, seconds: int, connections: int) -> dict[str, Any]:
    """Ask for `url` at `rate` for so many seconds; return percentiles (ms).

    Raises:
        ConfigError: the target is not this machine, and LOADTEST_ALLOW_REMOTE is not 1; or nobody answers.
    """
    parts = urlsplit(url)
    if parts.hostname not in {"127.0.0.1", "localhost", "::1"} and os.environ.get("LOADTEST_ALLOW_REMOTE") != "1":
        raise ConfigError(f"{url} is not this machine: LOADTEST_ALLOW_REMOTE=1, once its owner agreed")
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    try:
        answers = asyncio.run(ask(url, rate, round(rate * seconds), connections, lambda _: Message(path)))
    except OSError as error:
        raise ConfigError(f"{url} does not answer: {error.strerror or error}") from None
    shares = {"p50_ms": 0.5, "p90_ms": 0.9, "p99_ms": 0.99, "p999_ms": 0.999, "max_ms": 1.0}
    found = {name: spread([answers.percentile(share)]) for name, share in shares.items()}
    return {"url": url, "rate": rate, "figures": {**found, "failed": spread([answers.failed])}}


class _Connection(asyncio.Protocol):
    """One request at a time; a lost connection is an error of the measurement, not of the server."""

    def __init__(self, answers: Answers, idle: deque["_Connection"]) -> None:
        self._answers, self._idle = answers, idle
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport
        self._due = self._sent = 0.0
        self._server_ms: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        self._transport = transport
        self._idle.append(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def send(self, request: bytes, due: float) -> None:
        """Send a request that was due then."""
        self._due, self._sent, self._server_ms = due, time.perf_counter(), None
        self._transport.write(request)

    def close(self) -> None:
        """Hang up."""
        self._transport.abort()

    # What httptools calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"server-timing" and (found := _TOTAL.search(value)):
            self._server_ms = float(found[1])

    def on_message_complete(self) -> None:
        answers, now = self._answers, time.perf_counter()
        answers.latencies_ms.append((now - self._due) * 1000)
        answers.wire_ms.append((now - self._sent) * 1000)
        if self._parser.get_status_code() != _OK:
            answers.failed += 1
        if self._server_ms is not None:
            answers.server_ms.append(self._server_ms)
        self._parser = httptools.HttpResponseParser(self)
        self._idle.append(self)
        if len(answers.latencies_ms) == answers.requests:
            answers.complete.set()
