"""Asking vLLM for reasons: who can give them, and how their end is seen."""

from typing import Any

import httpx
import orjson
import pytest

from service.contracts.errors import WrongModel
from service.contracts.settings import VllmSettings
from workers.common.prompt import PROMPT_TOKENS, REASONING_TOKENS
from workers.common.vllm_client import VllmGenerator


async def test_a_rationale_is_given_back_with_the_token_that_ends_it() -> None:
    """VLLM leaves special tokens out of texts, unless it is told not to; plain lists are asked for as ever."""
    told: list[dict[str, Any]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        told.append(orjson.loads(request.content))
        choice = {"index": 0, "text": "goes with bags<hints>tent pegs", "finish_reason": "stop"}
        return httpx.Response(200, json={"choices": [choice], "usage": {"completion_tokens": 6}})

    async with VllmGenerator(VllmSettings(), httpx.MockTransport(handler)) as generator:
        await generator.generate(["<x2q><item>\ntent<hints>"])
        await generator.generate(["<x2q><item>\ntent<reasons>"])
    assert [one.get("skip_special_tokens") for one in told] == [None, False]


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
