"""What the service is measured against: a FastAPI route that reads one list from Redis and returns its bytes."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from fastapi import FastAPI, Request, Response

from service.contracts.keys import Keys, shopper_sid
from service.contracts.redis import make_redis
from service.contracts.settings import load_settings

PORT: Final = "BENCH_PORT"
"""Environment variable: where to listen. Not AIGQ_*, which are settings."""

_PATIENCE_MS: Final = 1000
"""It has no deadline to keep, and no answer without Redis: a stall of the machine must not end the measurement."""


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    settings = load_settings()
    app.state.redis = make_redis(settings.redis, _PATIENCE_MS)
    app.state.keys = Keys(settings.redis.namespace, settings.redis.partitions)
    yield
    await app.state.redis.aclose()


app = FastAPI(lifespan=_lifespan)


@app.get("/healthz")
async def healthz() -> Response:
    """Say that it runs."""
    return Response(b"ok")


@app.get("/v1/hints")
async def hints(request: Request, user_id: str) -> Response:
    """Return the shopper's list as it is stored."""
    key = request.app.state.keys.u2q(shopper_sid(user_id))
    return Response(await request.app.state.redis.get(key) or b"[]", media_type="application/json")


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, host="127.0.0.1", port=int(os.environ[PORT]), access_log=False)
