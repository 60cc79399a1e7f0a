"""For whoever runs the service: liveness, readiness, metrics."""

from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from service.endpoints import StateDep

router = APIRouter(tags=["ops"])


@router.get("/healthz", summary="Is the process alive?")
async def healthz() -> dict[str, str]:
    """Answer as long as the event loop turns."""
    return {"status": "alive"}


@router.get("/readyz", summary="Should it get traffic?")
async def readyz(state: StateDep) -> dict[str, Any]:
    """Answer 200 once started: hints are served without Redis and vLLM too. The detail says what is missing."""
    return {
        "status": "ready",
        "redis": state.store_problem or "ok",
        "breaker": state.breaker.state,
        "x2q_version": state.x2q_version,
        "artefact": state.catalogue.version,
    }


@router.get("/metrics", summary="Prometheus metrics", response_class=Response)
async def metrics() -> Response:
    """Return the text exposition format."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
