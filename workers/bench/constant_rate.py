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


@dataclass
class Answers:
    """What came back to so many requests: latencies (ms) from when one was due, and by the server's own clock."""

    requests: int
    latencies_ms: list[float] = field(default_factory=list)
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


async def ask(url: str, rate: float, requests: int, connections: int, path: Callable[[int], str]) -> Answers:
    """Send `requests` GETs to `path(i)` under `url`, `rate` a second over at most `connections`; await all answers.

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
    head = f" HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n"
    start, sent = time.perf_counter(), 0
    try:
        while sent < requests:
            now = time.perf_counter()
            while idle and sent < requests and (due := start + sent / rate) <= now:
                idle.popleft().send(f"GET {path(sent)}{head}".encode(), due)
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
        answers = asyncio.run(ask(url, rate, round(rate * seconds), connections, lambda _: path))
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
        self._due = 0.0
        self._server_ms: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        self._transport = transport
        self._idle.append(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def send(self, request: bytes, due: float) -> None:
        """Send a request that was due then."""
        self._due, self._server_ms = due, None
        self._transport.write(request)

    def close(self) -> None:
        """Hang up."""
        self._transport.abort()

    # What httptools calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"server-timing" and (found := _TOTAL.search(value)):
            self._server_ms = float(found[1])

    def on_message_complete(self) -> None:
        answers = self._answers
        answers.latencies_ms.append((time.perf_counter() - self._due) * 1000)
        if self._parser.get_status_code() != _OK:
            answers.failed += 1
        if self._server_ms is not None:
            answers.server_ms.append(self._server_ms)
        self._parser = httptools.HttpResponseParser(self)
        self._idle.append(self)
        if len(answers.latencies_ms) == answers.requests:
            answers.complete.set()
