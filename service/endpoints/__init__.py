"""Routes only: what is asked is checked here, what is done lives in the parent package."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any, Final, cast

import orjson
from fastapi import Depends, Request

from service.problems import MEDIA_TYPE, Problem, ProblemDetail
from service.state import State


async def get_state(request: Request) -> State:
    """Return the process's state. Async: FastAPI runs other dependencies in a thread, at 0.1 ms each."""
    return cast("State", request.state.app_state)


StateDep = Annotated[State, Depends(get_state)]


_DETAILS: Final[Mapping[int, str]] = {
    400: "The body is not JSON: unexpected end of data: line 1 column 2 (char 1).",
    403: "explain=true needs service.explain_token, sent as a bearer token.",
    413: "The body is over 1000000 bytes.",
    422: "The request is not valid.",
    503: "Too many requests are in flight.",
}


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI entries of the problems that a route can answer with."""
    return {status: _problem_response(HTTPStatus(status)) for status in statuses}


def _problem_response(status: HTTPStatus) -> dict[str, Any]:
    example: dict[str, Any] = {
        "type": "about:blank",
        "title": status.phrase,
        "status": int(status),
        "detail": _DETAILS[status],
        "request_id": "0f8c2a5be1d94c7f8a30d2f8c1b7e6a5",
    }
    if status == HTTPStatus.UNPROCESSABLE_ENTITY:
        example["errors"] = [{"at": "query.k", "problem": "Input should be greater than or equal to 1"}]
    found: dict[str, Any] = {"model": ProblemDetail, "content": {MEDIA_TYPE: {"example": example}}}
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        found["headers"] = {"Retry-After": header("seconds until it is worth to ask again", "1")}
    return found


def header(description: str, example: str) -> dict[str, Any]:
    """Return the OpenAPI entry of a response header."""
    return {"description": description, "schema": {"type": "string"}, "example": example}


async def read_json(request: Request) -> Any:
    """Return the body's JSON; lone surrogates are let through, for `clean` to remove.

    Raises:
        Problem: 400, the body is not JSON.
    """
    raw = await request.body()
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        first = str(error)
    try:
        # orjson refuses lone surrogates, which real browsers do send when they cut a string in half.
        return json.loads(raw)
    except (ValueError, RecursionError):
        raise Problem(HTTPStatus.BAD_REQUEST, f"The body is not JSON: {first}.") from None
