"""`/`: a plain page on which a newcomer sees a click change the hints."""

from importlib.resources import files
from typing import Any

from fastapi import APIRouter, Response

from service.endpoints import StateDep

router = APIRouter(include_in_schema=False)


@router.get("/")
async def page() -> Response:
    """Return the page."""
    html = files("service.web").joinpath("index.html").read_bytes()
    return Response(html, media_type="text/html; charset=utf-8", headers={"Cache-Control": "no-cache"})


@router.get("/sample")
async def sample(state: StateDep) -> dict[str, Any]:
    """Return the artefact's sample shoppers and items, empty for a real shop's artefact."""
    return dict(state.catalogue.sample)
