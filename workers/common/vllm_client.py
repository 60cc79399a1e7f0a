"""The vLLM server over its OpenAI-compatible completions API: a list of prompts in one request.

https://docs.vllm.ai/en/latest/serving/openai_compatible_server/
"""

from collections.abc import Sequence
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

import httpx

from service.contracts.errors import GeneratorUnavailable, WrongModel
from service.contracts.settings import VllmSettings
from workers.common.generator import Generation

_MAX_DETAIL = 200


class VllmGenerator:
    """A `Generator` on a vLLM server. Use it as an async context manager."""

    def __init__(self, settings: VllmSettings, transport: httpx.AsyncBaseTransport | None = None) -> None:
        """Connect on first use; `transport` replaces the network in tests."""
        headers = {}
        if settings.api_key is not None:
            headers["Authorization"] = f"Bearer {settings.api_key.get_secret_value()}"
        self._settings = settings
        self._http = httpx.AsyncClient(
            base_url=settings.url, timeout=settings.timeout_s, headers=headers, transport=transport
        )

    async def __aenter__(self) -> Self:
        """Return self."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close connections."""
        await self._http.aclose()

    async def check(self) -> None:
        """See `Generator.check`."""
        listed = await self._request("GET", "/v1/models")
        if listed.status_code != HTTPStatus.OK:
            raise GeneratorUnavailable(f"{self._settings.url}/v1/models answers {listed.status_code}")
        served = [str(model.get("id")) for model in _field(listed, "data")]
        if self._settings.model not in served:
            raise WrongModel(
                f"{self._settings.url} serves {', '.join(served)}, not {self._settings.model}: "
                "set vllm.model, or start vLLM with --served-model-name"
            )

    async def generate(self, prompts: Sequence[str]) -> list[Generation | None]:
        """See `Generator.generate`. A batch that is refused is asked prompt by prompt, to find the one at fault."""
        if not prompts:
            return []
        response = await self._request(
            "POST",
            "/v1/completions",
            {
                "model": self._settings.model,
                "prompt": list(prompts),
                "max_tokens": self._settings.max_tokens,
                "temperature": self._settings.temperature,
                "presence_penalty": self._settings.presence_penalty,
                "add_special_tokens": False,
            },
        )
        if response.status_code == HTTPStatus.NOT_FOUND:
            raise WrongModel(
                f"{self._settings.url} does not serve {self._settings.model}: {response.text[:_MAX_DETAIL]}"
            )
        if response.status_code in {HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY}:
            if len(prompts) == 1:
                return [None]
            return [one for prompt in prompts for one in await self.generate([prompt])]
        if response.status_code != HTTPStatus.OK:
            raise GeneratorUnavailable(f"vLLM answers {response.status_code}: {response.text[:_MAX_DETAIL]}")
        return self._parse(response, len(prompts))

    async def _request(self, method: str, path: str, content: dict[str, Any] | None = None) -> httpx.Response:
        try:
            return await self._http.request(method, path, json=content)
        except httpx.HTTPError as error:
            raise GeneratorUnavailable(f"vLLM at {self._settings.url}: {type(error).__name__} {error}") from error

    @staticmethod
    def _parse(response: httpx.Response, expected: int) -> list[Generation | None]:
        choices = _field(response, "choices")
        if len(choices) != expected:
            raise GeneratorUnavailable(f"vLLM answered {len(choices)} of {expected} prompts")
        by_index = {
            choice["index"]: choice
            for choice in choices
            if isinstance(choice.get("index"), int) and isinstance(choice.get("text"), str)
        }
        if set(by_index) != set(range(expected)):
            raise GeneratorUnavailable(f"vLLM's choices lack texts or indexes: {response.text[:_MAX_DETAIL]}")
        usage = response.json().get("usage")
        total = usage.get("completion_tokens") if isinstance(usage, dict) else None
        tokens = round(total / expected) if isinstance(total, int) else 0
        return [
            Generation(by_index[index]["text"], tokens, by_index[index].get("finish_reason") == "length")
            for index in range(expected)
        ]


def _field(response: httpx.Response, name: str) -> list[dict[str, Any]]:
    try:
        value = response.json()[name]
    except (ValueError, KeyError, TypeError) as error:
        raise GeneratorUnavailable(f"vLLM's answer has no {name}: {response.text[:_MAX_DETAIL]}") from error
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise GeneratorUnavailable(f"vLLM's {name} is not a list of objects: {response.text[:_MAX_DETAIL]}")
    return value
