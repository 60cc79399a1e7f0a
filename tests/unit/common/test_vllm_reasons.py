"""Asking vLLM for reasons: who can give them, and how their end is seen."""

from collections.abc import Callable
from typing import Any

import httpx
import orjson
import pytest

from service.contracts.errors import WrongModel
from service.contracts.settings import VllmSettings
from workers.common.generator import Generation
from workers.common.prompt import PROMPT_TOKENS, REASONING_TOKENS
from workers.common.vllm_client import VllmGenerator


def _served(told: list[dict[str, Any]], said: Callable[[str], str]) -> VllmGenerator:
    """Return a generator on a server that answers a prompt with `said`, two tokens each; `told` gets the requests."""

    def handler(request: httpx.Request) -> httpx.Response:
        told.append(orjson.loads(request.content))
        prompts = told[-1]["prompt"]
        choices = [{"index": n, "text": said(one), "finish_reason": "stop"} for n, one in enumerate(prompts)]
        return httpx.Response(200, json={"choices": choices, "usage": {"completion_tokens": 2 * len(prompts)}})

    settings = VllmSettings(presence_penalty=1.5, max_tokens=64, reasoning_tokens=128)
    return VllmGenerator(settings, httpx.MockTransport(handler))


async def test_a_list_is_asked_for_after_its_rationale() -> None:
    """Penalties hold back in a list what the list says, not what its rationale said; plain lists are as ever."""
    told: list[dict[str, Any]] = []
    async with _served(told, lambda prompt: "tent pegs" if prompt.endswith("<hints>") else "pegs<hints>") as generator:
        (plain,) = await generator.generate(["<x2q><item>\ntent<hints>"])
        (reasoned,) = await generator.generate(["<x2q><item>\ntent<reasons>"])
    assert plain == Generation("tent pegs", 2, truncated=False)
    assert reasoned == Generation("pegs<hints>tent pegs", 4, truncated=False)
    _, rationale, listed = told
    assert (rationale["prompt"], rationale["stop"]) == (["<x2q><item>\ntent<reasons>"], ["<hints>"])
    assert rationale["include_stop_str_in_output"]
    assert not rationale["skip_special_tokens"], "vLLM leaves special tokens out, unless it is told not to"
    assert (rationale["max_tokens"], rationale["presence_penalty"], rationale["frequency_penalty"]) == (128, 0.0, 0.0)
    assert listed["prompt"] == ["<x2q><item>\ntent<reasons>pegs<hints>"]
    assert {**listed, "prompt": 0} == {**told[0], "prompt": 0}


async def test_only_whole_rationales_get_a_list() -> None:
    """One that never ends is given back as it is, for the parser to count; the others keep their places."""
    told: list[dict[str, Any]] = []

    def said(prompt: str) -> str:
        return "loops loops" if "lamp" in prompt else prompt[4:8] + "s" + "<hints>" * prompt.endswith("<reasons>")

    async with _served(told, said) as generator:
        found = await generator.generate([f"<a>\n{name}<reasons>" for name in ("tent", "lamp", "rope")])
        assert await generator.generate([]) == []
    assert [one and one.text for one in found] == ["tents<hints>tents", "loops loops", "ropes<hints>ropes"]
    assert len(told) == 2


async def test_a_chat_says_both_at_once() -> None:
    """It is asked once, with room for both, and nothing is held back."""
    told: list[dict[str, Any]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        told.append(orjson.loads(request.content))
        return httpx.Response(200, json={"choices": [{"message": {"content": "pegs\n<hints>\ntent pegs"}}]})

    settings = VllmSettings(chat=True, max_tokens=64, reasoning_tokens=128)
    async with VllmGenerator(settings, httpx.MockTransport(handler)) as generator:
        (found,) = await generator.generate(["<x2q><item>\ntent<reasons>"])
    assert found is not None
    assert found.text == "pegs\n<hints>\ntent pegs"
    assert [(one["max_tokens"], one["presence_penalty"]) for one in told] == [(192, 0.0)]


async def test_a_model_without_reasons_is_not_asked_for_them() -> None:
    """It has one token less than it needs; for plain lists it has all."""

    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/models":
            return httpx.Response(200, json={"data": [{"id": "aigq-mini"}]})
        told = orjson.loads(request.content)["prompt"].count("<reasons>")
        return httpx.Response(200, json={"count": len(PROMPT_TOKENS) + 5 * told})  # spelled

    for tokens in (PROMPT_TOKENS, REASONING_TOKENS):
        async with VllmGenerator(VllmSettings(), httpx.MockTransport(handler), tokens) as generator:
            if tokens == PROMPT_TOKENS:
                await generator.check()
                continue
            with pytest.raises(WrongModel, match="--reasons"):
                await generator.check()
