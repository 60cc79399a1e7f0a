"""The vLLM server over its OpenAI-compatible completions API: a list of prompts in one request.

https://docs.vllm.ai/en/latest/serving/openai_compatible_server/
"""

import asyncio
import math
import random
from collections.abc import Sequence
from dataclasses import replace
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Self

import httpx
from prometheus_client.parser import text_string_to_metric_families

from service.contracts.errors import GeneratorUnavailable, WrongModel
from service.contracts.settings import VllmSettings
from workers.common.generator import Generation, Load
from workers.common.prompt import HINTS, PROMPT_TOKENS, REASONS, without_oldest
from workers.common.spoken import spoken

_MAX_DETAIL: Final = 200
_RETRY_S: Final = 0.2
_LATER: Final = frozenset({429, 500, 502, 503, 504})
_MAX_BYTES: Final = 1_000_000
_MAX_BYTES_A_PROMPT: Final = 64_000
# https://docs.vllm.ai/en/latest/usage/metrics/
_RUNNING: Final = "vllm:num_requests_running"
_WAITING: Final = "vllm:num_requests_waiting"
_CACHE: Final = "vllm:kv_cache_usage_perc"


class VllmGenerator:
    """A `Generator` on a vLLM server. Use it as an async context manager."""

    def __init__(
        self,
        settings: VllmSettings,
        transport: httpx.AsyncBaseTransport | None = None,
        tokens: Sequence[str] = PROMPT_TOKENS,
    ) -> None:
        """Connect on first use; `transport` replaces the network in tests; `tokens` must be known to the model."""
        headers = {}
        if settings.api_key is not None:
            headers["Authorization"] = f"Bearer {settings.api_key.get_secret_value()}"
        self._settings, self._tokens = settings, tokens
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
        if self._settings.chat:
            return  # its tokens are its own
        text = "".join(self._tokens)
        told = await self._request(
            "POST", "/tokenize", {"model": self._settings.model, "prompt": text, "add_special_tokens": False}
        )
        if told.status_code in {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}:
            return  # not every server with OpenAI's API tells tokens
        if told.status_code != HTTPStatus.OK:
            raise GeneratorUnavailable(f"{self._settings.url}/tokenize answers {told.status_code}")
        if _value(told, "count") != len(self._tokens):
            learned = " with --reasons" if REASONS in self._tokens else ""
            raise WrongModel(
                f"{self._settings.model} at {self._settings.url} has not the special tokens of AIGQ's prompts: "
                f"{len(self._tokens)} became {_value(told, 'count')} tokens; serve one of aigq train{learned}, "
                "or set vllm.chat = true to ask it in words"
            )

    async def load(self) -> Load:
        """See `Generator.load`."""
        try:
            told = await self._request("GET", "/metrics", retries=0)
        except GeneratorUnavailable:
            return Load()  # whether the model answers is for `check` to say
        return _load(told.text) if told.is_success else Load()

    async def generate(self, prompts: Sequence[str]) -> list[Generation | None]:
        """See `Generator.generate`. A batch that is refused is halved until the prompt at fault is found.

        That one is asked without its oldest actions, as long as it has some: it may be longer than the model's window.
        Prompts with reasons and without do not come in one batch.
        """
        if self._settings.chat:
            return list(await asyncio.gather(*map(self._converse, prompts)))
        if any(prompt.endswith(REASONS) for prompt in prompts):
            return await self._reasoned(prompts)
        return await self._completed(prompts, self._sampling())

    async def _reasoned(self, prompts: Sequence[str]) -> list[Generation | None]:
        """Ask for rationales, then for the lists that follow from them.

        Apart, since penalties keep a list from repeating itself, not from saying what its rationale said: to vLLM that
        is then part of the prompt.
        """
        # The token that ends a rationale is special, so vLLM would leave it out of the text.
        ends = {"stop": [HINTS], "include_stop_str_in_output": True, "skip_special_tokens": False}
        answers = await self._completed(prompts, {**self._sampling(reasons=True), **ends})
        said = {at: one for at, one in enumerate(answers) if one is not None and one.text.endswith(HINTS)}
        lists = await self._completed([prompts[at] + one.text for at, one in said.items()], self._sampling())
        for (at, one), listed in zip(said.items(), lists, strict=True):
            answers[at] = listed and replace(listed, text=one.text + listed.text, tokens=one.tokens + listed.tokens)
        return answers

    async def _completed(self, prompts: Sequence[str], sampling: dict[str, Any]) -> list[Generation | None]:
        if not prompts:
            return []
        response = await self._request(
            "POST",
            "/v1/completions",
            {"prompt": list(prompts), "add_special_tokens": False, **sampling},
            max_bytes=_MAX_BYTES + _MAX_BYTES_A_PROMPT * len(prompts),
        )
        if self._accepted(response, "does not serve"):
            return self._parse(response, len(prompts))
        if len(prompts) == 1:
            return [await self._shortened(prompts[0])]
        half = len(prompts) // 2
        return [*await self._completed(prompts[:half], sampling), *await self._completed(prompts[half:], sampling)]

    async def _converse(self, prompt: str) -> Generation | None:
        """Ask for one list in plain language; a chat is one a request, and vLLM batches requests."""
        response = await self._request(
            "POST",
            "/v1/chat/completions",
            {
                "messages": [{"role": "user", "content": spoken(prompt)}],
                **self._sampling(reasons=prompt.endswith(REASONS)),
            },
            max_bytes=_MAX_BYTES_A_PROMPT,
        )
        if not self._accepted(response, "has no chat with"):
            return await self._shortened(prompt)
        choice = next(iter(_field(response, "choices")), {})
        message = choice.get("message")
        text = message.get("content") if isinstance(message, dict) else None
        if not isinstance(text, str):
            raise GeneratorUnavailable(f"vLLM's chat has no text: {response.text[:_MAX_DETAIL]}")
        return Generation(text, _tokens(response), choice.get("finish_reason") == "length")

    async def _shortened(self, prompt: str) -> Generation | None:
        shorter = without_oldest(prompt)
        if shorter is None:
            return None
        (answer,) = await self.generate([shorter])
        return answer and replace(answer, shortened=True)

    def _sampling(self, *, reasons: bool = False) -> dict[str, Any]:
        """Return what every request says: for lists; for `reasons`, which a chat answers together with its list."""
        asks = self._settings
        tokens = asks.max_tokens
        if reasons:
            tokens = asks.reasoning_tokens + (tokens if asks.chat else 0)
        return {
            "model": asks.model,
            "max_tokens": tokens,
            "temperature": asks.temperature,
            "presence_penalty": 0.0 if reasons else asks.presence_penalty,
            "frequency_penalty": 0.0 if reasons or asks.chat else asks.frequency_penalty,
        }

    def _accepted(self, response: httpx.Response, without: str) -> bool:
        """Whether the prompt, or all of a batch, was taken; `without` says what a server without the model does.

        Raises:
            WrongModel, GeneratorUnavailable: it answered something else than a generation or a refusal.
        """
        if response.status_code == HTTPStatus.NOT_FOUND:
            raise WrongModel(f"{self._settings.url} {without} {self._settings.model}: {response.text[:_MAX_DETAIL]}")
        if response.status_code in {HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY}:
            return False
        if response.status_code != HTTPStatus.OK:
            raise GeneratorUnavailable(f"vLLM answers {response.status_code}: {response.text[:_MAX_DETAIL]}")
        return True

    async def _request(
        self,
        method: str,
        path: str,
        content: dict[str, Any] | None = None,
        *,
        retries: int | None = None,
        max_bytes: int = _MAX_BYTES,
    ) -> httpx.Response:
        """Return the answer. What may pass (no connection, 429, 5xx) is tried again after a pause with jitter.

        Raises:
            GeneratorUnavailable: no answer, or none that ends within `vllm.timeout_s` and `max_bytes`.
        """
        left = self._settings.retries if retries is None else retries
        pause_s = _RETRY_S
        while True:
            try:
                async with asyncio.timeout(self._settings.timeout_s):
                    response = await self._once(method, path, content, max_bytes)
            except (httpx.ConnectError, httpx.RemoteProtocolError, httpx.ReadError) as error:
                if not left:
                    raise self._unavailable(error) from error
            except (httpx.HTTPError, TimeoutError) as error:
                raise self._unavailable(error) from error
            else:
                if not left or response.status_code not in _LATER:
                    return response
            left -= 1
            await asyncio.sleep(random.uniform(0.5, 1.0) * pause_s)  # noqa: S311  (jitter)
            pause_s *= 2

    async def _once(self, method: str, path: str, content: dict[str, Any] | None, max_bytes: int) -> httpx.Response:
        body = bytearray()
        async with self._http.stream(method, path, json=content) as response:
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > max_bytes:
                    raise GeneratorUnavailable(f"vLLM's answer to {path} is longer than {max_bytes} bytes")
        return httpx.Response(response.status_code, content=bytes(body))

    def _unavailable(self, error: Exception) -> GeneratorUnavailable:
        return GeneratorUnavailable(f"vLLM at {self._settings.url}: {type(error).__name__} {error}".rstrip())

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
        tokens = round(_tokens(response) / expected)
        return [
            Generation(by_index[index]["text"], tokens, by_index[index].get("finish_reason") == "length")
            for index in range(expected)
        ]


def _load(page: str) -> Load:
    """Return what vLLM's metrics say, over its engines; its histograms, most of the page, are not parsed."""
    lines = [line + "\n" for line in page.splitlines() if line.startswith((_RUNNING, _WAITING, _CACHE))]
    values: dict[str, list[float]] = {}
    try:
        for family in text_string_to_metric_families("".join(lines)):
            for sample in family.samples:
                if math.isfinite(sample.value):
                    values.setdefault(sample.name, []).append(sample.value)
    except ValueError:
        return Load()
    running, waiting = (int(sum(values.get(name, []))) for name in (_RUNNING, _WAITING))
    return Load(running, waiting, max(values.get(_CACHE, [0.0])))


def _tokens(response: httpx.Response) -> int:
    """Return how many tokens were written; 0 if the server does not tell."""
    usage = response.json().get("usage")
    tokens = usage.get("completion_tokens") if isinstance(usage, dict) else None
    return tokens if isinstance(tokens, int) else 0


def _value(response: httpx.Response, name: str) -> object:
    try:
        value: object = response.json()[name]
    except (ValueError, KeyError, TypeError) as error:
        raise GeneratorUnavailable(f"vLLM's answer has no {name}: {response.text[:_MAX_DETAIL]}") from error
    return value


def _field(response: httpx.Response, name: str) -> list[dict[str, Any]]:
    value = _value(response, name)
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise GeneratorUnavailable(f"vLLM's {name} is not a list of objects: {response.text[:_MAX_DETAIL]}")
    return value
