"""A real HTTP server in place of a teacher, that can misbehave: OpenAI's chat API, as far as it is used."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from tests.integration.fake_vllm import served
from tests.integration.support import free_port


def good(evidence: dict[str, Any]) -> str:
    """Answer as was asked for."""
    queries = ["sleeping bag", "Camping  Stove", "dome tent", "desk lamp", "wooden toy", "flying carpet"]
    return orjson.dumps({"rationale": f"Goes with {evidence['trigger']} things.", "queries": queries}).decode()


class FakeTeacher:
    """`asked` are the evidences it was told. Set `reply` to answer otherwise, `respond` to misbehave altogether."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.usage: dict[str, int] | None = {"prompt_tokens": 300, "completion_tokens": 60}
        self.delay_s = 0.0
        self.reply: Callable[[dict[str, Any]], str] = good
        self.respond: Callable[[int], Response | None] = lambda _: None
        """Answer of the n-th request, from 1, if not an ordinary one."""
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self.app = FastAPI()
        self.app.post("/v1/chat/completions")(self._chat)

    async def _chat(self, request: Request) -> Response:
        content = await request.json()
        evidence = orjson.loads(content["messages"][-1]["content"])
        self.asked.append(evidence)
        self.requests.append(content)
        self.keys.append(request.headers.get("authorization"))
        number = len(self.asked)
        await asyncio.sleep(self.delay_s)
        if (bad := self.respond(number)) is not None:
            return bad
        message = {"message": {"role": "assistant", "content": self.reply(evidence)}, "finish_reason": "stop"}
        return JSONResponse({"choices": [message], **({"usage": self.usage} if self.usage else {})})


@contextmanager
def teaching(fake: FakeTeacher) -> Iterator[FakeTeacher]:
    """Serve it until the block ends."""
    with served(fake.app, fake.port):
        yield fake
