"""`POST /v1/events`: behaviour comes in. 202 means stored in Redis; a 503 means that nothing was lost but time."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from service.contracts.errors import StoreUnavailable
from service.contracts.events import EVENT, MAX_BATCH, Event, HintEvent, ItemEvent, SearchEvent
from service.contracts.hints import EventsAccepted
from service.contracts.settings import BehaviourSettings
from service.endpoints import StateDep, problem_responses, read_json
from service.metrics import EVENTS, STORE_ERRORS
from service.problems import Problem, unavailable, validation_errors

router = APIRouter(tags=["events"])

_EXAMPLES = {
    "search": {"summary": "A search", "value": {"user_id": "u42", "type": "search", "query": "camping stove"}},
    "click": {
        "summary": "An item opened, with its own time",
        "value": {"user_id": "u42", "type": "click", "item_id": "outd-tents-0001", "ts": "2026-11-23T08:00:00Z"},
    },
    "hint_click": {
        "summary": "A hint clicked; request_id comes from the hints answer",
        "value": {
            "user_id": "u42",
            "type": "hint_click",
            "query": "sleeping bag",
            "request_id": "0f8c2a5be1d94c7f8a30d2f8c1b7e6a5",
            "position": 0,
        },
    },
    "batch": {
        "summary": "A batch of up to 500",
        "value": [
            {"user_id": "u42", "type": "search", "query": "tent"},
            {"user_id": "u42", "type": "click", "item_id": "outd-tents-0001"},
        ],
    },
}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "oneOf": [
                        {"$ref": "#/components/schemas/Event"},
                        {"type": "array", "maxItems": MAX_BATCH, "items": {"$ref": "#/components/schemas/Event"}},
                    ]
                },
                "examples": _EXAMPLES,
            }
        },
    }
}


@router.post(
    "/v1/events",
    status_code=HTTPStatus.ACCEPTED,
    response_model=EventsAccepted,
    responses=problem_responses(400, 413, 422, 503),
    openapi_extra=_BODY,
    summary="Record one event, or a batch of up to 500",
)
async def post_events(request: Request, state: StateDep) -> Response:
    """Store events. The good ones of a batch are taken and the bad ones named by index; if none is good: 422."""
    content = await read_json(request)
    batch: Sequence[Any] = content if isinstance(content, list) else [content]
    if not batch:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "The batch is empty.")
    if len(batch) > MAX_BATCH:
        detail = f"The batch has {len(batch)} events, at most {MAX_BATCH} are allowed: send it in parts."
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail)
    good: list[Event] = []
    rejected: list[dict[str, Any]] = []
    for index, raw in enumerate(batch):
        try:
            event = EVENT.validate_python(raw)
            _check_time(event, request.state.received_at, state.settings.behaviour)
            good.append(event)
        except ValidationError as error:
            errors = [f"{e['at']}: {e['problem']}" if e["at"] else e["problem"] for e in validation_errors(error)]
            rejected.append({"index": index, "errors": errors})
        except ValueError as error:
            rejected.append({"index": index, "errors": [str(error)]})
    EVENTS.labels("rejected").inc(len(rejected))
    if not good:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "No event is valid.", rejected)
    try:
        await state.shoppers.record(good)
    except StoreUnavailable as error:
        STORE_ERRORS.labels("events").inc()
        raise unavailable("Redis does not take events now; send them again.") from error
    EVENTS.labels("accepted").inc(len(good))
    return Response(
        orjson.dumps({"accepted": len(good), "rejected": rejected}), HTTPStatus.ACCEPTED, media_type="application/json"
    )


def _check_time(event: SearchEvent | ItemEvent | HintEvent, now: float, settings: BehaviourSettings) -> None:
    if event.ts > now + settings.max_future_s:
        raise ValueError(
            f"ts: is {event.ts - now:.0f} s in the future, at most {settings.max_future_s:.0f} are allowed"
        )
    if event.ts < now - settings.max_age_s:
        raise ValueError(
            f"ts: is {(now - event.ts) / 86400:.0f} days old; {settings.max_age_s / 86400:.0f} are allowed"
        )
