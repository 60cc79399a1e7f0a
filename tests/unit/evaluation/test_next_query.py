"""A model of the next query alone gives a list too: what it draws, likeliest first."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from service.contracts.errors import GeneratorUnavailable
from service.contracts.settings import VllmSettings
from workers.evaluation.next_query import likeliest

DRAWS = [("tent", [-1.0, -1.0], "stop"), ("stove", [-0.5], "stop"), ("half a que", [-0.1], "length")]


def _server(answer: Callable[[dict[str, Any]], Any]) -> httpx.MockTransport:
    return httpx.MockTransport(lambda request: httpx.Response(200, json=answer(json.loads(request.content))))


def _draws(asked: dict[str, Any]) -> dict[str, Any]:
    choices = [
        {"index": n, "text": text, "finish_reason": reason, "logprobs": {"token_logprobs": logprobs}}
        for n in range(len(asked["prompt"]) * asked["n"])
        for text, logprobs, reason in [DRAWS[n % len(DRAWS)]]
    ]
    return {"choices": choices[::-1]}


async def test_the_likeliest_draw_leads() -> None:
    """Each query once, in the order of its likelihood; what the token cap cut is no query. Prompts are asked once."""
    heard: list[int] = []
    found = await likeliest(VllmSettings(), ["a", "b", "a"], heard.append, _server(_draws))
    assert {prompt: one.text for prompt, one in found.items()} == {"a": "stove\ntent", "b": "stove\ntent"}
    assert sum(heard) == 2


@pytest.mark.parametrize("answer", [{}, {"choices": []}, {"error": "no such model"}])
async def test_another_answer_is_an_error(answer: dict[str, Any]) -> None:
    """No figures of a server that does something else."""
    with pytest.raises(GeneratorUnavailable):
        await likeliest(VllmSettings(), ["a"], lambda _: None, _server(lambda _: answer))
