"""A prompt longer than the model's window: told as far as it fits, newest first, and the answer says so."""

import httpx
import orjson
import pytest

from service.contracts.settings import VllmSettings
from workers.common.generator import Generation
from workers.common.prompt import Action, render_u2q
from workers.common.vllm_client import VllmGenerator

LONG = render_u2q([Action("search", float(n), f"tent number {n}") for n in range(9)], {}, 9.0)
SHORT = "<u2q><now><search>\nlamp<hints>"
LAST_TWO = "<u2q><now><search>\ntent number 7<search>\ntent number 8<hints>"


class Window:
    """A server that takes `size` characters a prompt; `asked` are the prompts that it took."""

    def __init__(self, size: int) -> None:
        """Answer each prompt with "lamp"."""
        self.size = size
        self.asked: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer a request."""
        body = orjson.loads(request.content)
        prompts = [one["content"] for one in body["messages"]] if "messages" in body else body["prompt"]
        if max(map(len, prompts)) > self.size:
            return httpx.Response(400, json={"error": {"message": "maximum context length"}})
        self.asked += prompts
        choices = [
            {"index": at, "text": "lamp", "message": {"content": "lamp"}, "finish_reason": "stop"}
            for at in range(len(prompts))
        ]
        return httpx.Response(200, json={"choices": choices, "usage": {"completion_tokens": len(prompts)}})

    async def generate(self, *prompts: str, chat: bool = False) -> list[Generation | None]:
        """Ask it."""
        async with VllmGenerator(VllmSettings(retries=0, chat=chat), httpx.MockTransport(self)) as generator:
            return await generator.generate(prompts)


async def test_the_oldest_actions_are_left_out() -> None:
    """Only of the prompt that is too long; the others of its batch are told whole."""
    window = Window(62)
    found = await window.generate(SHORT, LONG)
    assert [one and one.shortened for one in found] == [False, True]
    assert window.asked == [SHORT, LAST_TWO]


async def test_a_chat_is_shortened_too() -> None:
    """Its words are made from the shorter prompt."""
    window = Window(500)
    (found,) = await window.generate(LONG, chat=True)
    assert found == Generation("lamp", 1, truncated=False, shortened=True)
    assert "tent number 8" in window.asked[0]
    assert "tent number 0" not in window.asked[0]


@pytest.mark.parametrize("chat", [False, True])
async def test_what_never_fits_is_refused(*, chat: bool) -> None:
    """One action, or an item's prompt, has nothing to leave out."""
    assert await Window(10).generate(LONG, chat=chat) == [None]
    assert await Window(10).generate("<x2q><item>\ntent<category>\ntents<hints>", chat=chat) == [None]
