"""`/v1/hints`: the searches that a shopper is about to want."""

import gzip
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request, Response
from pydantic import ValidationError
from starlette.types import ASGIApp, Receive, Scope, Send

from service import hintq
from service.contracts.codecs import BehaviourEntry
from service.contracts.events import Action
from service.contracts.hints import HintsParameters, HintsResponse, InlineHintsRequest
from service.contracts.settings import ServiceSettings
from service.endpoints import StateDep, header, problem_responses, read_json
from service.endpoints.hints_examples import ANSWER, ANSWERS, INLINE
from service.hintq import HintsQuery
from service.problems import Problem, invalid, respond
from service.state import State

Headers = Mapping[bytes, bytes]
"""By name in lower case, as ASGI has them."""

router = APIRouter(tags=["hints"])

_PATH = "/v1/hints"
_HEADERS = ((b"content-type", b"application/json"), (b"cache-control", b"private, no-store"))
# Here and not in a middleware, which would cost every request. Short answers fit a packet as they are; higher levels
# take longer and save nothing on lists of queries.
_GZIP_BYTES = 1000
_GZIP_LEVEL = 1
_ZIPPED = (*_HEADERS, (b"content-encoding", b"gzip"), (b"vary", b"Accept-Encoding"))
_NO_GZIP = re.compile(rb"gzip\s*;\s*q=0(\.0*)?\s*(,|$)")
_ENVOY_TIMEOUT = b"x-envoy-expected-rq-timeout-ms"
_DIGITS = re.compile(rb"[0-9]{1,9}")
_HEADERS_TOLD = {
    "Cache-Control": header("an answer is one shopper's, now", "private, no-store"),
    "Content-Encoding": header("only if it is accepted and the answer is 1 kB or longer", "gzip"),
}
_OK: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/json": {"example": ANSWER}}, "headers": _HEADERS_TOLD}
}
_OK_GET: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/json": {"examples": ANSWERS}}, "headers": _HEADERS_TOLD}
}
EXPLAIN = "explain"
SECURITY = {EXPLAIN: {"type": "http", "scheme": "bearer", "description": "only for explain=true"}}
"""The OpenAPI entry of what `explain` needs."""


def _parameters() -> list[dict[str, Any]]:
    """Return the OpenAPI entries of `HintsParameters`.

    FastAPI would make them, and check requests, from arguments of the route; that costs a request more than its merge.
    """
    schema = HintsParameters.model_json_schema()
    return [
        {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            "schema": {key: value for key, value in told.items() if key not in {"description", "examples"}},
            "description": told["description"],
            "example": told["examples"][0],
        }
        for name, told in schema["properties"].items()
    ]


@router.get(
    _PATH,
    response_model=HintsResponse,
    responses={**_OK_GET, **problem_responses(403, 422, 503)},
    openapi_extra={"parameters": _parameters(), "security": [{}, {EXPLAIN: []}]},
    summary="Hints for a known shopper, or for anybody by context",
)
async def get_hints(request: Request) -> Response:
    """Answer from what is known of shopper and visit; always 200 with hints, whatever is down behind this service."""
    return await _get(request.scope)


class Shortcut:
    """Answers `GET /v1/hints` before routing does, which costs more than the answer's merge; passes on all else."""

    def __init__(self, app: ASGIApp) -> None:
        """Pass on to `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection event."""
        if scope["type"] != "http" or scope["path"] != _PATH or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        scope["route"] = _ROUTE
        try:
            response = await _get(scope)
        except Problem as problem:
            response = respond(Request(scope), problem)
        await response(scope, receive, send)


_ROUTE: Final = router.routes[-1]
"""What `Shortcut` answers for; metrics and traces name a request by its route."""


async def _get(scope: Scope) -> Response:
    given: dict[str, Any] = {}
    exclude: list[str] = []
    for name, value in parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True):
        if name == "exclude":
            exclude.append(value)
        else:
            given[name] = value
    try:
        asked = HintsParameters.model_validate({**given, "exclude": exclude})
    except ValidationError as error:
        raise invalid(error, "query") from None
    headers, own = dict(scope["headers"]), scope["state"]
    state: State = own["app_state"]
    if asked.explain:
        _authorise(headers, state.settings.service)
    query = HintsQuery(
        own["request_id"],
        asked.user_id,
        asked.k,
        _budget(headers, state.settings.service, asked.budget_ms),
        asked.exclude,
        profile=asked.profile,
        referrer=asked.referrer_query,
        explain=asked.explain,
    )
    return await _respond(scope, headers, state, query)


@router.post(
    _PATH,
    response_model=HintsResponse,
    responses={**_OK, **problem_responses(400, 413, 422, 503)},
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": "#/components/schemas/InlineHintsRequest"},
                    "example": INLINE,
                }
            },
        }
    },
    summary="Hints for behaviour sent inline (anonymous shoppers); nothing of it is stored",
)
async def post_hints(request: Request, state: StateDep) -> Response:
    """Answer from the behaviour and profile in the body, newest first or with times, and the shopper's own if named."""
    content = await read_json(request)
    try:
        asked = InlineHintsRequest.model_validate(content)
    except ValidationError as error:
        raise invalid(error) from None
    headers = dict(request.scope["headers"])
    budget_ms = _budget(headers, state.settings.service, asked.budget_ms)
    query = HintsQuery(
        request.state.request_id,
        asked.user_id,
        asked.k,
        budget_ms,
        asked.exclude,
        _newest_first(asked.actions),
        asked.profile,
        asked.referrer_query,
    )
    return await _respond(request.scope, headers, state, query)


class _Prebuilt(Response):
    """A response whose bytes are at hand: Starlette's own encodes and looks through its headers first."""

    def __init__(self, body: bytes, headers: Sequence[tuple[bytes, bytes]]) -> None:
        self.status_code, self.background, self.body = HTTPStatus.OK.value, None, body
        self.raw_headers = [*headers, (b"content-length", b"%d" % len(body))]


async def _respond(scope: Scope, headers: Headers, state: State, query: HintsQuery) -> Response:
    answer = await hintq.answer(state, query)
    scope["state"]["server_timing"] = answer.timing
    if len(answer.body) >= _GZIP_BYTES and _takes_gzip(headers.get(b"accept-encoding", b"")):
        return _Prebuilt(gzip.compress(answer.body, _GZIP_LEVEL, mtime=0), _ZIPPED)
    return _Prebuilt(answer.body, _HEADERS)


def _takes_gzip(accepted: bytes) -> bool:
    """Whether an Accept-Encoding names gzip, and not with the weight 0, which refuses it (RFC 9110, 12.5.3)."""
    return b"gzip" in accepted and _NO_GZIP.search(accepted) is None


def _authorise(headers: Headers, settings: ServiceSettings) -> None:
    """Refuse who may not see how answers come about: it tells what a shopper did.

    Raises:
        Problem: 403.
    """
    expected = settings.explain_token
    given = headers.get(b"authorization", b"").removeprefix(b"Bearer ")
    if expected is None or not secrets.compare_digest(given, expected.get_secret_value().encode()):
        raise Problem(HTTPStatus.FORBIDDEN, "explain=true needs service.explain_token, sent as a bearer token.")


def _newest_first(actions: Sequence[Action]) -> list[BehaviourEntry]:
    now = time.time()
    entries: list[BehaviourEntry] = []
    for action in actions:
        entry = action.behaviour()
        if entry is not None:
            # Without a time of its own it happened now, in the order given.
            ts = min(entry.ts, now) if "ts" in action.model_fields_set else now
            entries.append(BehaviourEntry(entry.type, ts, entry.ref))
    return sorted(entries, key=lambda entry: -entry.ts)


def _budget(headers: Headers, settings: ServiceSettings, asked_ms: int | None) -> float:
    """Return the deadline: what the caller or its proxy allows, at most the service's own."""
    budget = settings.budget_ms if asked_ms is None else min(asked_ms, settings.budget_ms)
    proxy = headers.get(_ENVOY_TIMEOUT, b"")
    if _DIGITS.fullmatch(proxy) and int(proxy) > 0:
        budget = min(budget, int(proxy))
    return float(budget)
