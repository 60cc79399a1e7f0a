"""What a model server may do to a Direct worker: no list is spoiled, nobody is lost, and who is at fault is found."""

import asyncio
from collections.abc import Callable, Iterator, Sequence

import pytest
from fastapi import Response
from fastapi.responses import JSONResponse

from service.contracts.errors import GeneratorUnavailable, WrongModel
from service.contracts.keys import shopper_sid
from service.contracts.settings import VllmSettings
from tests.integration.fake_vllm import FakeVllm, answer, hang, running
from tests.integration.rig import HookedGenerator, Rig, echo
from tests.integration.support import eventually_async
from workers.common.canary import shopper_canary
from workers.common.fake_generator import FakeGenerator
from workers.common.vllm_client import VllmGenerator
from workers.direct import metrics
from workers.direct.dead_letters import DeadLetters

MakeRig = Callable[..., Rig]
Mood = Callable[[list[str]], Response]
MOODS: dict[str, tuple[Mood | None, str, str]] = {  # with the error that is counted and what the log says
    "500": (lambda _: Response("CUDA out of memory", 500), "GeneratorUnavailable", "500: CUDA out of memory"),
    "404": (lambda _: Response("no such model", 404), "WrongModel", "does not serve aigq-mini: no such model"),
    "hangs": (hang, "GeneratorUnavailable", "TimeoutError"),
    "cut short": (
        lambda _: Response('{"choices": [{"index": 0, "te', media_type="application/json"),
        "GeneratorUnavailable",
        "has no choices",
    ),
    "no lists": (lambda _: JSONResponse({"choices": []}), "GeneratorUnavailable", "answered 0 of 1 prompts"),
    "endless whitespace": (
        lambda _: Response(b" " * 3_000_000, media_type="application/json"),
        "GeneratorUnavailable",
        "is longer than",
    ),
    "empty texts": (
        lambda prompts: JSONResponse(answer([""] * len(prompts))),
        "WrongModel",
        "writes no query that may be shown",
    ),
    "whitespace texts": (
        lambda prompts: JSONResponse(answer([" \n \n" * 50] * len(prompts))),
        "WrongModel",
        "writes no query that may be shown",
    ),
    "another number of lists": (
        lambda prompts: JSONResponse(answer(["tent"] * (len(prompts) + 1))),
        "GeneratorUnavailable",
        "answered 2 of 1 prompts",
    ),
    "another model": (None, "WrongModel", "does not serve aigq-mini"),
}


@pytest.fixture
def fake() -> Iterator[FakeVllm]:
    """Serve a fake vLLM."""
    with running(FakeVllm()) as server:
        yield server


def _client(fake: FakeVllm) -> VllmGenerator:
    return VllmGenerator(VllmSettings(url=fake.url, timeout_s=0.5, retries=1))


@pytest.mark.parametrize("mood", MOODS)
async def test_a_misbehaving_model_changes_nothing(
    make_rig: MakeRig, fake: FakeVllm, mood: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Bounded requests, the list as it was, the shopper still due, told and counted; a list once the model is well."""
    rig = make_rig()
    await rig.search("u1", "tent")
    misbehave, error, said = MOODS[mood]
    counted = metrics.FAILURES.labels(error)._value
    async with _client(fake) as generator:
        worker = rig.worker(shopper_canary(generator, rig.catalogue))
        await rig.run_until(worker, rig.idle)
        before, failures = await rig.u2q("u1"), counted.get()
        fake.asked.clear()
        fake.misbehave = misbehave
        if misbehave is None:
            fake.model = "aigq-next"
        await rig.search("u1", "lamp")

        async def failed() -> bool:
            return bool(counted.get() > failures)

        await rig.run_until(worker, failed)
        assert 1 <= sum(times for prompt, times in fake.asked.items() if "lamp" in prompt) <= 2
        assert said in caplog.text
        assert "trying again in" in caplog.text
        assert await rig.u2q("u1") == before
        assert await rig.due("u1") is not None
        assert not await rig.leased("u1")
        fake.misbehave, fake.model = None, "aigq-mini"

        async def refreshed() -> bool:
            found = await rig.u2q("u1")
            return found is not None and found.seq == 2

        await rig.run_until(worker, refreshed)
    assert await DeadLetters(rig.redis, rig.keys).all() == []


@pytest.mark.parametrize(
    ("reply", "count"),
    [
        (lambda _: " \n \n" * 50, None),
        (lambda _: "", None),
        (lambda _: "Sure! Here are some <b>searches</b>: http://a.example", None),
        (echo, 99),
    ],
)
async def test_the_canary_keeps_garbage_out(
    make_rig: MakeRig, fake: FakeVllm, reply: Callable[[str], str], count: int | None
) -> None:
    """A model that cannot write lists, or has not our tokens, is never asked for a shopper."""
    rig = make_rig()
    await rig.search("u1", "tent")
    fake.reply, fake.count = reply, count or fake.count
    async with _client(fake) as generator:
        canary = shopper_canary(generator, rig.catalogue)
        with pytest.raises(WrongModel):
            await canary.check()
        fake.asked.clear()

        async def tried() -> bool:
            return sum(fake.asked.values()) >= 1 or count is not None

        await rig.run_until(rig.worker(canary), tried)
    assert not any("<search>\ntent<hints>" in prompt for prompt in fake.asked)
    assert await rig.u2q("u1") is None
    assert await rig.due("u1") is not None


@pytest.mark.parametrize("status", [400, 500])
async def test_who_breaks_requests_becomes_a_dead_letter(make_rig: MakeRig, fake: FakeVllm, status: int) -> None:
    """After `max_tries`, with the reason; the others of the batch get their lists. A retry forgets the tries."""
    rig = make_rig(max_tries=3, retry_s=0.02)
    for user in ("a", "b", "poison", "c"):
        await rig.search(user, user + " tent")
    fake.broken_by = lambda prompt: status if "poison" in prompt else 0
    letters = DeadLetters(rig.redis, rig.keys)
    async with _client(fake) as generator:
        worker = rig.worker(shopper_canary(generator, rig.catalogue))

        async def only_poison_left() -> bool:
            return (await rig.queue.look()).shoppers == 0

        await rig.run_until(worker, only_poison_left)
        (letter,) = await letters.all()
        assert (letter.sid, letter.tries) == (shopper_sid("poison"), 3)
        assert ("refuses" if status == 400 else "500") in letter.reason
        assert all([await rig.u2q(user) for user in ("a", "b", "c")])
        assert await rig.u2q("poison") is None

        fake.broken_by = lambda _: 0
        assert await letters.retry() == 1
        await rig.run_until(worker, lambda: rig.u2q("poison"))
    assert await letters.all() == []
    assert await letters.retry() == 0


async def test_a_dead_letter_who_acts_gets_a_try(make_rig: MakeRig) -> None:
    """Another prompt may do; if it does, the letter is gone, and so it is if the shopper asks to be forgotten."""
    rig = make_rig(max_tries=1)
    letters = DeadLetters(rig.redis, rig.keys)
    worker = rig.worker(FakeGenerator(lambda prompt: None if prompt.endswith("poison<hints>") else echo(prompt)))
    for user in ("u1", "u2"):
        await rig.search(user, "poison")
    while await worker.step():
        pass
    assert len(await letters.all()) == 2
    await rig.search("u1", "tent")
    await rig.store.forget("u2")
    assert await worker.step() == 1
    assert await rig.u2q("u1") is not None
    assert await letters.all() == []


async def test_an_outage_counts_against_nobody(make_rig: MakeRig) -> None:
    """However often the model is away."""
    rig = make_rig(max_tries=1, retry_s=0.01)
    await rig.search("u1", "tent")
    for _ in range(3):
        worker = rig.worker(FakeGenerator(echo, [GeneratorUnavailable("away")] * 2))
        with pytest.raises(GeneratorUnavailable):
            await eventually_async(worker.step)
    assert await DeadLetters(rig.redis, rig.keys).all() == []
    assert await rig.due("u1") is not None


async def test_what_kills_workers_becomes_a_dead_letter(make_rig: MakeRig) -> None:
    """A lease that expires is a worker that died; the shopper may be why."""
    rig = make_rig(max_tries=2, lease_s=0.02)
    await rig.search("u1", "tent")
    letters = DeadLetters(rig.redis, rig.keys)

    async def buried() -> bool:
        await rig.queue.claim(10)
        return bool(await letters.all())

    await eventually_async(buried)
    (letter,) = await letters.all()
    assert (letter.tries, letter.reason) == (2, "workers that held it died")
    assert (await rig.queue.look()).shoppers == 0


async def test_what_takes_longer_than_the_lease_is_given_back(make_rig: MakeRig) -> None:
    """Before another worker takes over."""
    rig = make_rig(lease_s=0.3)
    await rig.search("u1", "tent")

    async def forever(_: Sequence[str]) -> None:
        await asyncio.Event().wait()

    with pytest.raises(GeneratorUnavailable, match="lease"):
        await rig.worker(HookedGenerator(forever)).step()
    assert not await rig.leased("u1")
    assert await rig.due("u1") is not None
