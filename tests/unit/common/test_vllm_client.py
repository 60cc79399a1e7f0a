"""The vLLM client: whatever the server does, it ends in generations in order, or in one of our two errors."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from service.contracts.errors import GeneratorError, GeneratorUnavailable, WrongModel
from service.contracts.settings import VllmSettings
from workers.common.generator import Generation
from workers.common.prompt import PROMPT_TOKENS
from workers.common.vllm_client import VllmGenerator

Handler = Callable[[httpx.Request], httpx.Response]


def _client(handler: Handler, **settings: Any) -> VllmGenerator:
    return VllmGenerator(VllmSettings(**{"retries": 0, **settings}), httpx.MockTransport(handler))


def _choice(index: int, text: str, finish: str = "stop") -> dict[str, Any]:
    return {"index": index, "text": text, "finish_reason": finish}


def _answer(*choices: dict[str, Any], tokens: int = 6) -> dict[str, Any]:
    return {"choices": list(choices), "usage": {"completion_tokens": tokens}}


def _echo(request: httpx.Request) -> httpx.Response:
    prompts = orjson.loads(request.content)["prompt"]
    return httpx.Response(200, json=_answer(*(_choice(i, f"re {prompt}") for i, prompt in enumerate(prompts))))


async def _generate(handler: Handler, *prompts: str) -> list[Generation | None]:
    async with _client(handler) as generator:
        return await generator.generate(prompts)


async def test_one_request_for_all_prompts() -> None:
    """A batch is one request, with the settings' model, cap and temperature, and the key as a bearer token."""
    asked: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return _echo(request)

    async with _client(handler, model="m", max_tokens=20, api_key=SecretStr("k")) as generator:
        found = await generator.generate(["a", "b"])
    assert found == [Generation("re a", 3, truncated=False), Generation("re b", 3, truncated=False)]
    (request,) = asked
    assert request.url.path == "/v1/completions"
    assert request.headers["authorization"] == "Bearer k"
    body = orjson.loads(request.content)
    assert (body["model"], body["prompt"], body["max_tokens"], body["temperature"]) == ("m", ["a", "b"], 20, 0.0)


async def test_no_prompts_no_request() -> None:
    """Nothing to ask is not asked."""

    def never(request: httpx.Request) -> httpx.Response:
        raise AssertionError(request)

    assert await _generate(never) == []


async def test_order_is_by_index_not_by_arrival() -> None:
    """A shifted answer would give one shopper another's hints."""
    choices = [_choice(2, "c", "length"), _choice(0, "a"), _choice(1, "b")]
    found = await _generate(lambda _: httpx.Response(200, json=_answer(*choices)), "1", "2", "3")
    assert [one and one.text for one in found] == ["a", "b", "c"]
    assert [one and one.truncated for one in found] == [False, False, True]


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(500, text="CUDA out of memory"),
        httpx.Response(502),
        httpx.Response(503),
        httpx.Response(429),
        httpx.Response(401),
        httpx.Response(302, headers={"location": "http://elsewhere.example"}),
        httpx.Response(200, text='{"choices": [{"index": 0, "te'),
        httpx.Response(200, text=""),
        httpx.Response(200, content=b"\xff\xfe\x00"),
        httpx.Response(200, json={}),
        httpx.Response(200, json=[]),
        httpx.Response(200, json=None),
        httpx.Response(200, json={"choices": None}),
        httpx.Response(200, json={"choices": [None, None]}),
        httpx.Response(200, json=_answer()),
        httpx.Response(200, json=_answer(_choice(0, "a"))),
        httpx.Response(200, json=_answer(_choice(0, "a"), _choice(1, "b"), _choice(2, "c"))),
        httpx.Response(200, json=_answer(_choice(0, "a"), _choice(0, "b"))),
        httpx.Response(200, json=_answer(_choice(1, "a"), _choice(2, "b"))),
        httpx.Response(200, json={"choices": [{"text": "a"}, {"text": "b"}]}),
        httpx.Response(200, json={"choices": [{"index": 0, "text": None}, {"index": 1, "text": "b"}]}),
        httpx.Response(200, json={"choices": [{"index": "0", "text": "a"}, {"index": [], "text": "b"}]}),
    ],
)
async def test_answers_that_are_no_answer(response: httpx.Response) -> None:
    """The batch counts as not generated, to be tried again; no text is guessed."""
    with pytest.raises(GeneratorUnavailable):
        await _generate(lambda _: response, "1", "2")


@pytest.mark.parametrize("usage", [None, {}, [], {"completion_tokens": None}, {"completion_tokens": "x"}])
async def test_usage_is_optional(usage: object) -> None:
    """Other OpenAI-compatible servers leave it out; token counts are then 0, texts are kept."""
    content = {"choices": [_choice(0, "a")], "usage": usage}
    assert await _generate(lambda _: httpx.Response(200, json=content), "1") == [Generation("a", 0, truncated=False)]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["choices", "index", "text", "usage", "finish_reason"]), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(st.sampled_from([200, 400, 404, 422, 500]), json_values)
async def test_random_answers_raise_nothing_else(status: int, content: object) -> None:
    """A worker catches `GeneratorError`; anything else would end it."""
    try:
        found = await _generate(lambda _: httpx.Response(status, json=content), "1", "2")
    except GeneratorError:
        return
    assert len(found) == 2


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError("refused"),
        httpx.ConnectTimeout("slow"),
        httpx.ReadTimeout("hangs"),
        httpx.PoolTimeout("busy"),
        httpx.RemoteProtocolError("server disconnected"),
        httpx.ReadError("reset"),
    ],
)
async def test_network_failures(error: httpx.HTTPError) -> None:
    """No connection, a hang past the timeout, a connection that breaks: unavailable."""

    def handler(request: httpx.Request) -> httpx.Response:
        raise error

    async with _client(handler) as generator:
        with pytest.raises(GeneratorUnavailable, match=type(error).__name__):
            await generator.generate(["1"])
        with pytest.raises(GeneratorUnavailable):
            await generator.check()


async def test_a_hang_ends_with_the_timeout() -> None:
    """The settings' timeout is the client's, on a real socket that accepts and says nothing."""
    done = asyncio.Event()

    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await done.wait()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with VllmGenerator(VllmSettings(url=f"http://127.0.0.1:{port}", timeout_s=0.2, retries=0)) as generator:
        with pytest.raises(GeneratorUnavailable, match="Timeout"):
            await generator.generate(["1"])
    done.set()
    server.close()
    await server.wait_closed()


async def test_not_found_is_the_wrong_model() -> None:
    """A 404 is the answer of vLLM for a model that it does not serve."""
    with pytest.raises(WrongModel, match="aigq-mini"):
        await _generate(lambda _: httpx.Response(404, json={"message": "no such model"}), "1", "2")


@pytest.mark.parametrize("status", [400, 422])
async def test_one_refused_prompt_does_not_take_the_batch_along(status: int) -> None:
    """The batch is halved until the one at fault is alone; only it gets None."""

    def handler(request: httpx.Request) -> httpx.Response:
        too_long = "bad" in orjson.loads(request.content)["prompt"]
        return httpx.Response(status, json={"message": "too long"}) if too_long else _echo(request)

    found = await _generate(handler, "a", "bad", "c")
    assert [one and one.text for one in found] == ["re a", None, "re c"]


async def test_check() -> None:
    """The expected model answers, another one, or none."""
    served = {"data": [{"id": "other"}, {"id": "mine"}], "count": len(PROMPT_TOKENS)}
    async with _client(lambda _: httpx.Response(200, json=served), model="mine") as generator:
        await generator.check()
    async with _client(lambda _: httpx.Response(200, json=served), model="absent") as generator:
        with pytest.raises(WrongModel, match="serves other, mine, not absent"):
            await generator.check()
    for response in (httpx.Response(500), httpx.Response(200, text="<html>"), httpx.Response(200, json={"data": 1})):
        async with _client(lambda _, r=response: r) as generator:  # type: ignore[misc]
            with pytest.raises(GeneratorUnavailable):
                await generator.check()


async def test_a_model_with_its_own_padding_is_ours_too() -> None:
    """Regression: a model from a pretrained base was refused, since it knows no <pad>, which no prompt holds."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/models":
            return httpx.Response(200, json={"data": [{"id": "aigq-mini"}]})
        asked = re.findall(r"<[^>]*>", orjson.loads(request.content)["prompt"])
        return httpx.Response(200, json={"count": sum(1 if token in PROMPT_TOKENS else 3 for token in asked)})

    async with _client(answer) as generator:
        await generator.check()


async def test_a_tokenizer_without_our_tokens_is_the_wrong_model() -> None:
    """It would take a field's name for text; a server that cannot tell is believed."""

    def handler(status: int, count: object) -> Handler:
        def answer(request: httpx.Request) -> httpx.Response:
            if request.url.path == "/tokenize":
                return httpx.Response(status, json={"count": count})
            return httpx.Response(200, json={"data": [{"id": "aigq-mini"}]})

        return answer

    async with _client(handler(200, 99)) as generator:
        with pytest.raises(WrongModel, match="99 tokens"):
            await generator.check()
    async with _client(handler(404, None)) as generator:
        await generator.check()
    async with _client(handler(500, None)) as generator:
        with pytest.raises(GeneratorUnavailable):
            await generator.check()


@pytest.mark.parametrize("failure", [500, 503, 429, httpx.ConnectError("refused"), httpx.ReadError("reset")])
async def test_what_may_pass_is_tried_again(failure: int | httpx.HTTPError) -> None:
    """A bounded number of times; then it is an error."""
    asked = 0

    def handler(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        if asked > 1:
            return _echo(request)
        if isinstance(failure, int):
            return httpx.Response(failure)
        raise failure

    async with _client(handler, retries=1) as generator:
        assert await generator.generate(["a"]) == [Generation("re a", 6, truncated=False)]
        asked = 0
    async with _client(handler, retries=0) as generator:
        with pytest.raises(GeneratorUnavailable):
            await generator.generate(["a"])
    assert asked == 1


async def test_an_endless_answer_is_cut() -> None:
    """However much whitespace a server sends, memory is bounded."""

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 100_000

    with pytest.raises(GeneratorUnavailable, match="longer than"):
        await _generate(lambda _: httpx.Response(200, content=endless()), "1")


async def test_the_key_is_in_no_error() -> None:
    """Errors go to logs."""

    def handler(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    async with _client(handler, api_key=SecretStr("hunter2")) as generator:
        with pytest.raises(GeneratorUnavailable) as caught:
            await generator.generate(["1"])
    assert "hunter2" not in repr(caught.value) + repr(caught.value.__cause__)
