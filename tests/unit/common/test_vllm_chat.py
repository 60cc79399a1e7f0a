"""A model that AIGQ did not train, asked in words: one chat a prompt, whatever the server does with it."""

from collections.abc import Callable
from typing import Any

import httpx
import orjson
import pytest

from service.contracts.errors import GeneratorError, GeneratorUnavailable, WrongModel
from service.contracts.settings import VllmSettings
from workers.common.generator import Generation
from workers.common.vllm_client import VllmGenerator

Handler = Callable[[httpx.Request], httpx.Response]


def _client(handler: Handler, **settings: Any) -> VllmGenerator:
    return VllmGenerator(VllmSettings(**{"retries": 0, **settings}), httpx.MockTransport(handler))


def _chat(text: object, finish: str = "stop") -> dict[str, Any]:
    return {"choices": [{"message": {"content": text}, "finish_reason": finish}], "usage": {"completion_tokens": 7}}


async def test_a_foreign_model_is_asked_in_words() -> None:
    """One chat a prompt, answers in the order of the prompts; no special token is sent, and none is looked for."""
    asked: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/models":
            return httpx.Response(200, json={"data": [{"id": "m"}]})
        assert request.url.path == "/v1/chat/completions"
        (message,) = orjson.loads(request.content)["messages"]
        asked.append(message["content"])
        return httpx.Response(200, json=_chat("re " + ("tent" if "tent" in message["content"] else "lamp"), "length"))

    async with _client(handler, model="m", chat=True) as generator:
        await generator.check()
        found = await generator.generate(["<u2q><now><search>\ntent<hints>", "<u2q><now><search>\nlamp<hints>"])
        assert await generator.generate([]) == []
    assert found == [Generation("re tent", 7, truncated=True), Generation("re lamp", 7, truncated=True)]
    assert not any("<" in text for text in asked)


@pytest.mark.parametrize(
    ("status", "content", "error"),
    [
        (404, {}, WrongModel), (500, {}, GeneratorUnavailable), (200, {"choices": []}, GeneratorUnavailable),
        (200, _chat(None), GeneratorUnavailable), (200, {"choices": [{"message": "x"}]}, GeneratorUnavailable),
    ],
)  # fmt: skip
async def test_a_chat_that_goes_wrong(status: int, content: dict[str, Any], error: type[GeneratorError]) -> None:
    """Is one of our two errors; a prompt that it refuses is None."""
    async with _client(lambda _: httpx.Response(status, json=content), chat=True) as generator:
        with pytest.raises(error):
            await generator.generate(["<u2q><hints>"])
    async with _client(lambda _: httpx.Response(400), chat=True) as generator:
        assert await generator.generate(["<u2q><hints>"]) == [None]
