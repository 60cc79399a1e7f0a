"""A teacher behind an OpenAI-compatible chat endpoint: asked for a JSON answer, with bounded retries, and on a budget.

https://platform.openai.com/docs/api-reference/chat (vLLM and most others offer the same)
"""

import asyncio
import random
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Self

import httpx
import orjson
from pydantic import BaseModel, Field, ValidationError

from service.contracts.errors import ConfigError, GeneratorUnavailable, WrongModel
from workers.common.reasons import MAX_CHARS
from workers.think.evidence import Evidence, Link

_LATER: Final = frozenset({429, 500, 502, 503, 504})
_FATAL: Final = frozenset({401, 403, 404, 405})
_PAUSE_S: Final = 0.5
_MAX_DETAIL: Final = 200
_MARGIN: Final = 64
"""Tokens that a chat template adds to a request."""
_ANSWER_TOKENS: Final = 400
_SYSTEM: Final = (
    "You know what shoppers of an online shop look for next. You are told what the shop's logs say of one trigger. "
    "First give a rationale of one or two sentences, in lower case and at most 300 characters: what goes with the "
    "trigger, which categories come next and why, in the shop's own words. Then give ten short searches, two to five "
    "words each, the likeliest first, that follow from the rationale and cover the categories that it names. Only "
    "suggest what this shop sells. Answer with JSON alone."
)


class Reply(BaseModel):
    """What a teacher must answer."""

    rationale: str = Field(min_length=1, max_length=2 * MAX_CHARS)
    queries: list[str] = Field(min_length=1, max_length=40)


_FORMAT: Final = {
    "type": "json_schema",
    "json_schema": {"name": "suggestions", "schema": Reply.model_json_schema()},
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the teacher is, and how it is asked; `url` is with or without /v1."""

    url: str
    model: str
    api_key: str | None = None
    timeout_s: float = 60.0
    retries: int = 3

    @property
    def name(self) -> str:
        """What rows call this teacher: never the name of the one without a model."""
        return f"{self.model} at {httpx.URL(self.url).host}"


@dataclass(slots=True)
class Budget:
    """What a run may cost; prices are for a million tokens. Before a request, the most that it can cost is set aside.

    So no cap is ever passed, whatever the teacher answers. A request that timed out counts in full: it may be billed.
    """

    max_tokens: int | None = None
    max_cost: float | None = None
    price_in: float = 0.0
    price_out: float = 0.0
    tokens: int = 0
    cost: float = 0.0

    def __post_init__(self) -> None:
        if self.max_cost is not None and not (self.price_in or self.price_out):
            raise ConfigError("--max-cost needs prices: --price-in and --price-out, for a million tokens each")

    def take(self, tokens_in: int, tokens_out: int) -> bool:
        """Set tokens aside; False, and nothing is set aside, if that passes a cap."""
        cost = self._cost(tokens_in, tokens_out)
        over = self.max_tokens is not None and self.tokens + tokens_in + tokens_out > self.max_tokens
        if over or (self.max_cost is not None and self.cost + cost > self.max_cost):
            return False
        self.tokens += tokens_in + tokens_out
        self.cost += cost
        return True

    def give_back(self, tokens_in: int, tokens_out: int) -> None:
        """Return what was set aside and not used."""
        self.tokens -= tokens_in + tokens_out
        self.cost -= self._cost(tokens_in, tokens_out)

    def _cost(self, tokens_in: int, tokens_out: int) -> float:
        return (tokens_in * self.price_in + tokens_out * self.price_out) / 1e6


class OverBudget(Exception):
    """The next request could pass a cap."""


class TeacherTimeout(Exception):
    """This request got no answer, however often it was tried."""


class Teacher:
    """Use it as an async context manager."""

    def __init__(self, endpoint: Endpoint, budget: Budget) -> None:
        """Connect on first use."""
        self._endpoint, self._budget = endpoint, budget
        key = endpoint.api_key
        self._http = httpx.AsyncClient(
            base_url=endpoint.url.rstrip("/").removesuffix("/v1"),
            timeout=endpoint.timeout_s,
            headers={"Authorization": f"Bearer {key}"} if key else {},
        )

    async def __aenter__(self) -> Self:
        """Return self."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close connections."""
        await self._http.aclose()

    def request(self, evidence: Evidence) -> bytes:
        """Return what is asked; equal evidence gives equal bytes, by which answers are kept."""
        content = {
            "model": self._endpoint.model,
            "messages": [
                {"role": "system", "content": _SYSTEM},
                {"role": "user", "content": orjson.dumps(told(evidence)).decode()},
            ],
            "temperature": 0.0,
            "max_tokens": _ANSWER_TOKENS,
            "response_format": _FORMAT,
        }
        return orjson.dumps(content)

    async def ask(self, request: bytes) -> str:
        """Return the text of the answer. What may pass (no connection, 429, 5xx, time) is tried again after a pause.

        Raises:
            OverBudget: it could cost too much.
            TeacherTimeout: no answer to this request.
            WrongModel, GeneratorUnavailable: the endpoint answers nothing that could be used, now and later.
        """
        pause_s = _PAUSE_S
        for left in range(self._endpoint.retries, -1, -1):
            most = len(request) + _MARGIN, _ANSWER_TOKENS  # a token is a byte or more
            if not self._budget.take(*most):
                raise OverBudget
            try:
                async with asyncio.timeout(self._endpoint.timeout_s):
                    response = await self._http.post(
                        "/v1/chat/completions", content=request, headers={"Content-Type": "application/json"}
                    )
            except (httpx.ConnectError, httpx.UnsupportedProtocol) as error:
                self._budget.give_back(*most)
                if not left:
                    raise TeacherTimeout(f"{type(error).__name__} {error}") from error
            except (httpx.HTTPError, TimeoutError) as error:
                if not left:
                    raise TeacherTimeout(f"{type(error).__name__} {error}") from error
            else:
                if response.status_code == HTTPStatus.OK:
                    return self._content(response, *most)
                self._budget.give_back(*most)
                self._refused(response)
                if not left:
                    raise TeacherTimeout(f"it answers {response.status_code}")
            await asyncio.sleep(random.uniform(0.5, 1.0) * pause_s)  # noqa: S311  (jitter)
            pause_s *= 2
        raise AssertionError  # pragma: no cover  (the loop returns or raises)

    def _refused(self, response: httpx.Response) -> None:
        """Raise for what another try would not change."""
        if response.status_code in _LATER:
            return
        said = f"the teacher at {self._endpoint.url} answers {response.status_code}: {response.text[:_MAX_DETAIL]}"
        if response.status_code in _FATAL:
            raise WrongModel(f"{said}; look at --teacher, --teacher-model and TEACHER_API_KEY")
        raise GeneratorUnavailable(said)

    def _content(self, response: httpx.Response, most_in: int, most_out: int) -> str:
        """Return the text of a chat's answer, empty if there is none, and settle the account."""
        try:
            found = orjson.loads(response.content)
        except orjson.JSONDecodeError:
            return ""
        usage = found.get("usage") if isinstance(found, dict) else None
        if isinstance(usage, dict):
            used_in, used_out = usage.get("prompt_tokens"), usage.get("completion_tokens")
            if isinstance(used_in, int) and isinstance(used_out, int):
                self._budget.give_back(most_in - used_in, most_out - used_out)
        try:
            text = found["choices"][0]["message"]["content"]
        except (KeyError, IndexError, TypeError):
            return ""
        return text if isinstance(text, str) else ""


def told(evidence: Evidence) -> dict[str, Any]:
    """Return what a teacher is told, as JSON values."""
    return {
        "trigger": evidence.kind,
        "text": evidence.subject,
        "category": evidence.category,
        "searches_that_led_here": [query for query, _ in evidence.before],
        "searches_that_followed": [query for query, _ in evidence.after[:12]],
        "bought_together": list(map(_link, evidence.bought)),
        "categories_that_followed": list(map(_link, evidence.following)),
        "categories_beside_it": list(evidence.beside),
    }


def _link(link: Link) -> dict[str, Any]:
    return {"category": link.category, "shoppers": link.shoppers, "times_as_usual": link.lift}


def read_reply(text: str) -> Reply | None:
    """Return an answer, None if it is not of the form that was asked for."""
    try:
        return Reply.model_validate_json(text)
    except ValidationError:
        return None
