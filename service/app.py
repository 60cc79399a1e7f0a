"""`create_app`: the service. Run it with `aigq serve`, or `uvicorn --factory service.app:create_app`."""

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypedDict

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi_offline import FastAPIOffline
from pydantic import TypeAdapter
from starlette.middleware.cors import CORSMiddleware

from service import problems, telemetry
from service.contracts.events import Event
from service.contracts.hints import InlineHintsRequest
from service.contracts.settings import Settings, load_settings
from service.endpoints import events, header, hints, ops, page, shoppers
from service.gate import Gate
from service.state import State, open_state

VERSION = "0.1.0"


_GATE_HEADERS = {
    "X-Request-Id": header("what the body and the log call it too", "0f8c2a5be1d94c7f8a30d2f8c1b7e6a5"),
    "Server-Timing": header("milliseconds by stage, and in all", "shopper;dur=0.41, total;dur=0.92"),
}
"""What every answer has (`service.gate`), as OpenAPI tells it."""


class Lifespan(TypedDict):
    """What a request finds in `request.state`, besides its own id."""

    app_state: State


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the app; settings default to `load_settings()`.

    Raises:
        ConfigError: settings are wrong.
    """
    settings = settings or load_settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[Lifespan]:
        del app
        async with open_state(settings) as state:
            yield {"app_state": state}

    app = FastAPIOffline(  # /docs needs no other site
        redoc_url=None,
        title="AIGQ HintQ",
        version=VERSION,
        summary="Search hints for shoppers who have not typed anything yet.",
        lifespan=lifespan,
    )
    for module in (hints, events, shoppers, ops, page):
        app.include_router(module.router)
    problems.install(app)
    app.add_middleware(hints.Shortcut)
    app.add_middleware(
        Gate, max_concurrency=settings.service.max_concurrency, max_body_bytes=settings.service.max_body_bytes
    )
    if settings.service.cors_origins:
        # Around the gate: pages of other sites may read its refusals too. A preflight is answered here, for next to
        # nothing.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.service.cors_origins),
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=["*"],
            expose_headers=["x-request-id", "server-timing", "retry-after"],
        )
    telemetry.trace_app(settings.trace, app, "service")
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]  # documented way to extend the schema
    return app


def create_app_to_serve() -> FastAPI:
    """Return `create_app()` for a process that does nothing else: the garbage collector looks past what is there now.

    A full collection over the imported libraries stops every request for 40 ms, most of a budget; past them, for none.
    """
    app = create_app()
    gc.collect()
    gc.freeze()
    return app


def _openapi(app: FastAPI) -> dict[str, Any]:
    """Return the schema with what it cannot see: models of bodies that routes read themselves, and all headers."""
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
        components = schema.setdefault("components", {})
        components["securitySchemes"] = hints.SECURITY
        schemas = components.setdefault("schemas", {})
        for name, adapter in (("Event", TypeAdapter(Event)), ("InlineHintsRequest", TypeAdapter(InlineHintsRequest))):
            model = adapter.json_schema(ref_template="#/components/schemas/{model}")
            schemas.update(model.pop("$defs", {}))
            schemas[name] = model
        for path in schema["paths"].values():
            for operation in path.values():
                for response in operation["responses"].values():
                    response.setdefault("headers", {}).update(_GATE_HEADERS)
        app.openapi_schema = schema
    return app.openapi_schema
