"""Lists from a model that was taught the next query alone: many samples of one query, likeliest first.

Beam search would do too; vLLM's is one request a beam and token, and takes an hour where this takes a minute.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import httpx

from service.contracts.errors import GeneratorUnavailable
from service.contracts.settings import VllmSettings
from workers.common.generator import Generation
from workers.common.prompt import SEPARATOR

SAMPLES: Final = 32
"""Queries drawn a prompt: several times what a list holds, so that the likely ones are among them."""
_BATCH: Final = 16
_MAX_TOKENS: Final = 24


async def likeliest(
    settings: VllmSettings,
    prompts: Sequence[str],
    advance: Callable[[int], None],
    transport: httpx.AsyncBaseTransport | None = None,
) -> dict[str, Generation]:
    """Return by distinct prompt what `SAMPLES` draws (temperature 1) gave, as a list, likeliest first.

    `transport` replaces the network in tests.

    Raises:
        GeneratorUnavailable: the server does not answer as vLLM does.
    """
    distinct = list(dict.fromkeys(prompts))
    found: dict[str, Generation] = {}
    patience = settings.timeout_s * SAMPLES
    async with httpx.AsyncClient(base_url=settings.url, timeout=patience, transport=transport) as client:
        for start in range(0, len(distinct), _BATCH):
            batch = distinct[start : start + _BATCH]
            choices = await _draw(client, settings.model, batch)
            for place, prompt in enumerate(batch):
                found[prompt] = _listed(choices[place * SAMPLES : (place + 1) * SAMPLES])
            advance(len(batch))
    return found


async def _draw(client: httpx.AsyncClient, model: str, prompts: list[str]) -> list[dict[str, Any]]:
    asked = {
        "model": model, "prompt": prompts, "n": SAMPLES, "temperature": 1.0, "max_tokens": _MAX_TOKENS,
        "logprobs": 0, "add_special_tokens": False,
    }  # fmt: skip
    try:
        answer = await client.post("/v1/completions", json=asked)
        choices: list[dict[str, Any]] = answer.raise_for_status().json()["choices"]
    except (httpx.HTTPError, ValueError, KeyError) as error:
        raise GeneratorUnavailable(f"vLLM at {client.base_url}: {type(error).__name__} {error}") from error
    if len(choices) != len(prompts) * SAMPLES:
        raise GeneratorUnavailable(f"vLLM answered {len(choices)} of {len(prompts) * SAMPLES} draws")
    return sorted(choices, key=lambda choice: choice["index"])


def _listed(choices: Sequence[dict[str, Any]]) -> Generation:
    """Return whole queries, likeliest first; a draw that the token cap cut is none."""
    likely: dict[str, float] = {}
    for choice in choices:
        if choice["finish_reason"] != "length":
            likely[choice["text"].strip().partition(SEPARATOR)[0]] = sum(choice["logprobs"]["token_logprobs"])
    ranked = sorted(likely, key=lambda query: (-likely[query], query))
    tokens = sum(len(choice["logprobs"]["token_logprobs"]) for choice in choices)
    return Generation(SEPARATOR.join(ranked), tokens, truncated=False)
