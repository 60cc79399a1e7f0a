"""The gate around every request: id, limits, and errors that say nothing of the inside."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import StreamingResponse

from service import problems
from service.gate import Gate

LIMIT = 1000


def _app() -> tuple[FastAPI, asyncio.Semaphore, asyncio.Event]:
    app = FastAPI()
    problems.install(app)
    arrived, release = asyncio.Semaphore(0), asyncio.Event()

    @app.post("/echo")
    async def echo(request: Request) -> int:
        return len(await request.body())

    @app.get("/wait")
    async def wait() -> str:
        arrived.release()
        await release.wait()
        return "done"

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("the password is hunter2")

    @app.get("/teapot")
    async def teapot() -> None:
        raise HTTPException(418)

    @app.get("/half")
    async def half() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"begun"
            raise RuntimeError

        return StreamingResponse(parts())

    app.add_middleware(Gate, max_concurrency=2, max_body_bytes=LIMIT)
    return app, arrived, release


def _client(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://test")


async def _chunks(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 100):
        yield b"x" * 100


async def test_every_answer_has_an_id_and_its_time() -> None:
    """Found again in the log, and in the front end's waterfall."""
    app, *_ = _app()
    async with _client(app) as client:
        one, other = await client.post("/echo", content=b"a"), await client.get("/nowhere")
    assert len(one.headers["x-request-id"]) == 32
    assert one.headers["x-request-id"] != other.headers["x-request-id"]
    assert other.json()["request_id"] == other.headers["x-request-id"]
    assert "total;dur=" in one.headers["server-timing"]


async def test_a_body_at_the_limit_passes_and_one_byte_more_does_not() -> None:
    """Announced, or sent in chunks without a length."""
    app, *_ = _app()
    async with _client(app) as client:
        for content in (b"x" * LIMIT, _chunks(LIMIT)):
            assert (await client.post("/echo", content=content)).json() == LIMIT
        for content in (b"x" * (LIMIT + 1), _chunks(LIMIT + 100)):
            refused = await client.post("/echo", content=content)
            assert refused.status_code == 413
            assert refused.headers["content-type"] == "application/problem+json"
            assert refused.json()["request_id"] == refused.headers["x-request-id"]


async def test_too_many_at_once_are_turned_away_cheaply() -> None:
    """503 with Retry-After, while those inside finish."""
    app, arrived, release = _app()
    async with _client(app) as client:
        inside = [asyncio.create_task(client.get("/wait")) for _ in range(2)]
        for _ in range(2):
            await arrived.acquire()
        shed = await client.get("/teapot")
        assert shed.status_code == 503
        assert shed.headers["retry-after"] == "1"
        assert shed.json()["title"] == "Service Unavailable"
        release.set()
        assert [(await one).status_code for one in inside] == [200, 200]
        assert (await client.get("/wait")).status_code == 200


async def test_an_unforeseen_error_is_a_problem_without_details(caplog: pytest.LogCaptureFixture) -> None:
    """The log has the traceback, the caller has the id to look for it."""
    app, *_ = _app()
    async with _client(app) as client:
        answer = await client.get("/broken")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "hunter2" not in answer.text
    assert answer.json()["request_id"] in caplog.text


async def test_errors_of_the_framework_are_problems_too() -> None:
    """Unknown paths and methods, and whatever else raises an HTTP error."""
    app, *_ = _app()
    async with _client(app) as client:
        answers = [await client.get("/nowhere"), await client.get("/echo"), await client.get("/teapot")]
    assert [a.status_code for a in answers] == [404, 405, 418]
    assert {a.headers["content-type"] for a in answers} == {"application/problem+json"}


async def test_a_failure_after_the_headers_cuts_the_answer() -> None:
    """It is too late for another status, so the connection says it."""
    app, *_ = _app()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        with pytest.raises(RuntimeError):
            await client.get("/half")
