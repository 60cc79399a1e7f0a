"""`/v1/shoppers/{id}`: what a shopper lets us know, and the right to be forgotten."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Body, Path, Response

from service.contracts.errors import StoreUnavailable
from service.contracts.events import UserId
from service.contracts.hints import ProfileUpdate
from service.endpoints import StateDep, problem_responses
from service.metrics import STORE_ERRORS
from service.problems import unavailable
from service.store import profile_of

router = APIRouter(prefix="/v1/shoppers", tags=["shoppers"])

ShopperId = Annotated[UserId, Path(examples=["u42"])]
_PROFILE_EXAMPLE = {"fields": {"segment": "young parent", "budget": "mid", "region": "north"}, "consent": True}


@router.put(
    "/{user_id:path}/profile",
    status_code=HTTPStatus.NO_CONTENT,
    responses=problem_responses(422, 503),
    summary="Set a shopper's profile and consent",
)
async def put_profile(
    user_id: ShopperId, update: Annotated[ProfileUpdate, Body(examples=[_PROFILE_EXAMPLE])], state: StateDep
) -> Response:
    """Replace the profile. With `consent` false, behaviour and lists are erased and nothing new is kept."""
    try:
        await state.shoppers.put_profile(user_id, profile_of(update.fields, consent=update.consent))
    except StoreUnavailable as error:
        STORE_ERRORS.labels("profile").inc()
        raise unavailable("Redis does not take the profile now; send it again.") from error
    return Response(status_code=HTTPStatus.NO_CONTENT)


@router.delete(
    "/{user_id:path}",  # an id may hold slashes
    status_code=HTTPStatus.NO_CONTENT,
    responses=problem_responses(422, 503),
    summary="Forget a shopper",
)
async def forget(user_id: ShopperId, state: StateDep) -> Response:
    """Erase behaviour, profile, list and due mark. Log lines already drained are the log owner's to erase."""
    try:
        await state.shoppers.forget(user_id)
    except StoreUnavailable as error:
        STORE_ERRORS.labels("forget").inc()
        raise unavailable("Redis does not answer now; ask again.") from error
    return Response(status_code=HTTPStatus.NO_CONTENT)
