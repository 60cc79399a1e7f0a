"""A real HTTP server in place of vLLM, that can misbehave. It answers a prompt with a list about its last search."""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from tests.integration.rig import echo
from tests.integration.support import eventually, free_port
from workers.common.prompt import PROMPT_TOKENS
from workers.common.vllm_server import ENGINE


class FakeVllm:
    """`asked` counts prompts. Set `misbehave` to another mood, or `refuse` to say which prompts get 400."""

    def __init__(self, delay_s: float = 0.0, model: str = "aigq-mini") -> None:
        """Take `delay_s` for each prompt; as many at once as our own vLLM, and `waiting` are the others."""
        self.asked: Counter[str] = Counter()
        self.batches: list[int] = []
        self.model = model
        self.count = len(PROMPT_TOKENS)
        self.waiting = 0
        self._seats = asyncio.Semaphore(ENGINE["max_num_seqs"])
        self.delay_s = delay_s
        self.misbehave: Callable[[list[str]], Response] | None = None
        self.broken_by: Callable[[str], int] = lambda _: 0
        """Status with which a prompt breaks its whole request; 0 = none."""
        self.reply: Callable[[str], str] = echo
        self.url = f"http://127.0.0.1:{free_port()}"
        self.app = FastAPI()
        self.app.get("/v1/models")(self._models)
        self.app.post("/tokenize")(self._tokenize)
        self.app.get("/metrics")(self._metrics)
        self.app.post("/v1/completions")(self._completions)

    async def _models(self) -> JSONResponse:
        return JSONResponse({"data": [{"id": self.model}]})

    async def _tokenize(self) -> JSONResponse:
        return JSONResponse({"count": self.count})

    async def _metrics(self) -> Response:
        return Response(f'vllm:num_requests_waiting{{engine="0"}} {float(self.waiting)}\n', media_type="text/plain")

    async def _completions(self, request: Request) -> Response:
        body = await request.json()
        prompts: list[str] = body["prompt"]
        self.asked.update(prompts)
        self.batches.append(len(prompts))
        if body["model"] != self.model:
            return JSONResponse({"message": f"The model `{body['model']}` does not exist."}, 404)
        await asyncio.gather(*(self._generate() for _ in prompts))
        if self.misbehave is not None:
            return self.misbehave(prompts)
        if status := max(map(self.broken_by, prompts)):
            return Response(status_code=status)
        return JSONResponse(answer([self.reply(prompt) for prompt in prompts]))

    async def _generate(self) -> None:
        self.waiting += 1
        try:
            await self._seats.acquire()
        finally:
            self.waiting -= 1
        try:
            await asyncio.sleep(self.delay_s)
        finally:
            self._seats.release()


def answer(texts: list[str]) -> dict[str, Any]:
    """Return what vLLM says when it generated `texts`."""
    choices = [{"index": at, "text": text, "finish_reason": "stop"} for at, text in enumerate(texts)]
    return {"choices": choices, "usage": {"completion_tokens": 10 * len(texts)}}


def hang(_: list[str]) -> Response:
    """Send a byte now and then, for ever."""

    async def drip() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.05)

    return StreamingResponse(drip())


@contextmanager
def running(fake: FakeVllm) -> Iterator[FakeVllm]:
    """Serve it until the block ends."""
    with served(fake.app, int(fake.url.rsplit(":", 1)[1])):
        yield fake


@contextmanager
def served(app: Any, port: int) -> Iterator[None]:
    """Serve an ASGI application on a port of this machine until the block ends."""
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    eventually(lambda: server.started)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(10)
