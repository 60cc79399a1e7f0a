"""The gate that every request passes but a CORS preflight: id, concurrency limit, body limit, timing.

Pure ASGI, since `BaseHTTPMiddleware` costs a multiple: https://www.starlette.io/middleware/#pure-asgi-middleware
"""

import logging
import random
import time
from functools import lru_cache
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import problems
from service.metrics import IN_FLIGHT, LATENCY, REQUESTS, SHED
from service.problems import Problem

_log = logging.getLogger(__name__)
# Looking a label up costs more than counting; routes and statuses are few.
_requests = lru_cache(maxsize=256)(lambda route, status: REQUESTS.labels(route, str(status)))
_latency = lru_cache(maxsize=64)(LATENCY.labels)


class Gate:
    """Wraps the app; see the module's docstring."""

    def __init__(self, app: ASGIApp, max_concurrency: int, max_body_bytes: int) -> None:
        """Let at most `max_concurrency` requests in, each with at most `max_body_bytes` of body."""
        self._app = app
        self._max_concurrency = max_concurrency
        self._max_body_bytes = max_body_bytes
        self._in_flight = 0
        IN_FLIGHT.set_function(lambda: self._in_flight)  # asked by a scrape; to set it cost each request two locks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection event."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = f"{random.getrandbits(128):032x}"  # unique, not secret
        scope.setdefault("state", {}).update(request_id=request_id, received_at=time.time())
        status = 500
        responding = False

        async def timed_send(message: Message) -> None:
            nonlocal status, responding
            if message["type"] == "http.response.start":
                responding = True
                status = message["status"]
                total_ms = (time.perf_counter() - started) * 1000
                stages = scope["state"].get("server_timing", "")
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-request-id", request_id.encode()),
                    (b"server-timing", f"{stages}total;dur={total_ms:.2f}".encode()),
                ]
            await send(message)

        self._in_flight += 1
        try:
            if self._in_flight > self._max_concurrency:
                SHED.inc()
                raise problems.unavailable("Too many requests are in flight.")  # noqa: TRY301  (one way to answer)
            # Nobody reads a GET's body.
            limited = receive if scope["method"] == "GET" else self._limited(scope, receive)
            await self._app(scope, limited, timed_send)
        except Problem as problem:
            await _answer(problem, request_id, timed_send)
        except Exception:
            _log.exception("request %s failed", request_id, extra={"request_id": request_id})
            if responding:
                raise
            failure = Problem(
                HTTPStatus.INTERNAL_SERVER_ERROR, "Something went wrong here; the log has the request id."
            )
            await _answer(failure, request_id, timed_send)
        finally:
            self._in_flight -= 1
            route = getattr(scope.get("route"), "path", "unmatched")
            _requests(route, status).inc()
            _latency(route).observe(time.perf_counter() - started)

    def _limited(self, scope: Scope, receive: Receive) -> Receive:
        """Return a `receive` that stops a body once it is too long, announced or not."""
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        limit = self._max_body_bytes
        if announced.isdigit() and int(announced) > limit:
            raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body is over {limit} bytes.")
        seen = 0

        async def limited() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body is over {limit} bytes.")
            return message

        return limited


async def _answer(problem: Problem, request_id: str, send: Send) -> None:
    headers = {"content-type": problems.MEDIA_TYPE, **(problem.headers or {})}
    encoded = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": int(problem.status), "headers": encoded})
    await send({"type": "http.response.body", "body": problems.body(problem, request_id)})
