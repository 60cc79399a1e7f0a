"""Errors as RFC 9457 problem details (`application/problem+json`), each with the request id."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from service.contracts.text import clean

MEDIA_TYPE = "application/problem+json"
_MAX_TEXT = 200
_GONE = 499
"""Nobody is left to be answered: who hangs up in the midst of a body is no failure of ours. nginx counts it so too."""


class ProblemDetail(BaseModel):
    """RFC 9457 problem details."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    request_id: str
    errors: list[dict[str, Any]] = Field(default_factory=list, description="what is wrong, by place")


class Problem(HTTPException):
    """Raise to answer with a problem; `errors` names each mistake, `headers` are sent along.

    An `HTTPException`, since FastAPI turns any other error that reading a body raises into a 400.
    """

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        errors: Sequence[Mapping[str, Any]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Keep what the answer will say."""
        super().__init__(int(status), detail, dict(headers or {}))
        self.status = status
        self.errors = list(errors)


def unavailable(detail: str, retry_after_s: int = 1) -> Problem:
    """Return a 503 with Retry-After."""
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": str(retry_after_s)})


def body(problem: Problem, request_id: str) -> bytes:
    """Return the JSON of a problem."""
    content: dict[str, Any] = {
        "type": "about:blank",
        "title": problem.status.phrase,
        "status": int(problem.status),
        "detail": problem.detail,
        "request_id": request_id,
    }
    if problem.errors:
        content["errors"] = problem.errors
    return orjson.dumps(content, option=orjson.OPT_NON_STR_KEYS)


def validation_errors(error: ValidationError | RequestValidationError, *within: str) -> list[dict[str, str]]:
    """Return each mistake as where (`within` first) and what, without repeating the value: it may be unprintable."""
    return [
        {
            "at": _short(".".join(str(part) for part in (*within, *problem["loc"]))),
            "problem": _short(str(problem["msg"])),
        }
        for problem in error.errors()
    ]


def invalid(error: ValidationError | RequestValidationError, *within: str) -> Problem:
    """Return the 422 that names each mistake; see `validation_errors`."""
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "The request is not valid.", validation_errors(error, *within))


def _short(text: str) -> str:
    """Names and tags that the caller chose can be in it."""
    return clean(text)[:_MAX_TEXT]


def respond(request: Request, problem: Problem) -> Response:
    """Return the answer that a problem becomes."""
    request_id = request.scope.get("state", {}).get("request_id", "")
    return Response(body(problem, request_id), int(problem.status), problem.headers, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Make every error of `app` a problem."""

    async def on_problem(request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)  # noqa: S101  (narrowing for the type checker; registered for this class)
        return respond(request, error)

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101
        return respond(request, Problem(HTTPStatus(error.status_code), str(error.detail), headers=error.headers))

    async def on_invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101
        return respond(request, invalid(error))

    async def on_gone(request: Request, error: Exception) -> Response:
        del request, error
        return Response(status_code=_GONE)

    app.add_exception_handler(Problem, on_problem)
    app.add_exception_handler(ClientDisconnect, on_gone)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, on_invalid)
