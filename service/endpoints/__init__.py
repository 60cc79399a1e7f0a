"""Routes only: what is asked is checked here, what is done lives in the parent package."""

import json
from http import HTTPStatus
from typing import Annotated, Any, cast

import orjson
from fastapi import Depends, Request

from service.problems import Problem, ProblemDetail
from service.state import State


async def get_state(request: Request) -> State:
    """Return the process's state. Async: FastAPI runs other dependencies in a thread, at 0.1 ms each."""
    return cast("State", request.state.app_state)


StateDep = Annotated[State, Depends(get_state)]


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI entries of the problems that a route can answer with."""
    return {status: {"model": ProblemDetail, "content": {"application/problem+json": {}}} for status in statuses}


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
