"""What the Direct worker writes: ranked where there is a ranker, and small."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import pytest

from service.contracts.codecs import Profile
from service.contracts.errors import NothingUsable
from service.contracts.keys import shopper_sid
from service.ranking.shopper_context import ShopperContext
from tests.integration.rig import Rig, echo
from tests.integration.support import eventually_async
from workers.common.fake_generator import FakeGenerator
from workers.common.ranked_list import Ranker
from workers.direct import metrics
from workers.direct.dead_letters import DeadLetters
from workers.direct.metrics import DROPS

MakeRig = Callable[..., Rig]


class Retrieves(Ranker):
    """Finds the same for everybody, whatever was written."""

    def chances(self, context: ShopperContext, generated: Sequence[str] = ()) -> dict[str, float]:
        """See `Ranker.chances`."""
        del context
        return dict.fromkeys(["sleeping bag", *generated], 0.1)


async def test_a_ranker_orders_what_is_written(make_rig: MakeRig) -> None:
    """It hears of the shopper and of what the model wrote; the list is its order, filtered like any other."""
    rig = make_rig()
    await rig.search("u1", "tent")
    asked: list[tuple[ShopperContext, Sequence[str]]] = []

    class Reversed(Ranker):
        def chances(self, context: ShopperContext, generated: Sequence[str] = ()) -> dict[str, float]:
            asked.append((context, generated))
            return dict.fromkeys(["sleeping bag", "<b>", "tent", *reversed(generated)], 0.1)

    generator = FakeGenerator(lambda _: "gas canister\ncamping stove")
    worker = rig.worker(generator, Reversed())
    assert await worker.step() == 1
    found = await rig.u2q("u1")
    assert found is not None
    assert [q.query for q in found.queries] == ["sleeping bag", "camping stove", "gas canister"]
    assert found.origins == {"sleeping bag": "retrieved", "camping stove": "generated", "gas canister": "generated"}
    ((context, generated),) = asked
    assert [entry.ref for entry in context.behaviour] == ["tent"]
    assert list(generated) == ["gas canister", "camping stove"]


async def test_a_prompt_tells_what_the_ranker_found(make_rig: MakeRig) -> None:
    """As many candidates as the model was taught with, likeliest first; none where it was taught without."""
    rig = make_rig()

    class Finds(Ranker):
        def chances(self, context: ShopperContext, generated: Sequence[str] = ()) -> dict[str, float]:
            assert [entry.ref for entry in context.behaviour] == ["tent"]
            ranked.append(generated)
            return {"sleeping bag": 0.3, "camping stove": 0.2, "lantern": 0.1, **dict.fromkeys(generated, 0.0)}

        def shortlist(self, context: ShopperContext, ranked: Iterable[str], limit: int) -> list[str]:
            del context
            return list(ranked)[:limit]

    asked: list[str] = []
    ranked: list[Sequence[str]] = []
    for number, told in enumerate((2, 0)):
        direct = rig.settings.direct.model_copy(update={"candidates": told})
        taught = replace(rig, settings=rig.settings.model_copy(update={"direct": direct}))
        await rig.search(f"u{number}", "tent")
        generator = FakeGenerator(lambda prompt: asked.append(prompt) or "lantern")
        assert await taught.worker(generator, Finds()).step() == 1
    with_, without = asked
    assert ranked == [(), ["lantern"]], "what the prompt's ranking holds is not ranked again"
    assert with_.endswith("<search>\ntent<candidates>\nsleeping bag\ncamping stove<hints>")
    assert without.endswith("<search>\ntent<hints>")


async def test_a_list_is_in_a_script_that_the_shopper_reads(make_rig: MakeRig) -> None:
    """By the profile's locale, whoever proposes it, until the shopper types another; what goes is counted."""
    rig = make_rig()

    class Finds(Ranker):
        def chances(self, context: ShopperContext, generated: Sequence[str] = ()) -> dict[str, float]:
            del context
            return dict.fromkeys(["睡袋", *generated, "usb lamp"], 0.1)

    worker = rig.worker(FakeGenerator(lambda _: "露营灯\ngas canister"), Finds())
    before = DROPS.labels("language")._value.get()
    for user, locale in (("u1", "en-US"), ("u2", "zh-CN")):
        await rig.store.put_profile(user, Profile(consent=True, fields={"locale": locale}))
        await rig.search(user, "tent")
    assert await worker.step() == 2
    one, other = await rig.u2q("u1"), await rig.u2q("u2")
    assert one is not None
    assert other is not None
    assert one.texts == ["gas canister", "usb lamp"]
    assert set(other.texts) == {"睡袋", "露营灯", "gas canister", "usb lamp"}
    assert DROPS.labels("language")._value.get() == before + 1
    await rig.search("u1", "帐篷")
    assert await worker.step() == 1
    again = await rig.u2q("u1")
    assert again is not None
    assert "睡袋" in again.texts


async def test_a_list_is_small(make_rig: MakeRig) -> None:
    """Ten hints of ordinary length, scores, origins and digest take at most 600 bytes of Redis, key and all."""
    rig = make_rig()

    class Mixes(Ranker):
        def chances(self, context: ShopperContext, generated: Sequence[str] = ()) -> dict[str, float]:
            del context
            found = ["ergonomic keyboard wrist rest", "机械键盘 静音", "usb c hub with ethernet"]
            return dict.fromkeys([*generated[:7], *found], 0.1)

    await rig.search("u1", "keyboard")
    queries = [
        "clackwell mechanical keyboard",
        "65 percent keyboard black",
        "wireless earbuds for running",
        "红轴机械键盘",
    ]
    lines = [f"{query} {number}" for number in range(4) for query in queries][:10]
    assert await rig.worker(FakeGenerator(lambda _: "\n".join(lines)), Mixes()).step() == 1
    found = await rig.u2q("u1")
    assert found is not None
    assert len(found.queries) == 10
    assert found.retrieved == 0b1110000000
    assert found.digest
    assert await rig.redis.memory_usage(rig.keys.u2q(shopper_sid("u1"))) <= 600


GARBAGE = "<<<\n12\nlamps"


@pytest.mark.parametrize("ranker", [None, Retrieves()])
async def test_an_answer_without_a_usable_query_keeps_the_list(make_rig: MakeRig, ranker: Ranker | None) -> None:
    """The refresh ends, since asking the same again would give the same; what was stored is as good as ever."""
    rig = make_rig()
    await rig.search("u1", "tent")
    await rig.worker(ranker=ranker).step()
    before = await rig.u2q("u1")
    await rig.search("u1", "lamp")
    empty = metrics.EMPTY._value.get()
    garbage = FakeGenerator(lambda _: GARBAGE)
    vllm = rig.settings.vllm.model_copy(update={"model": "aigq-next"})
    rig = replace(rig, settings=rig.settings.model_copy(update={"vllm": vllm}))
    await rig.worker(garbage, ranker).step()
    after = await rig.u2q("u1")
    assert before is not None
    assert after is not None
    assert (after.queries, after.seq, after.model) == (before.queries, 2, "aigq-next")
    assert after.generated_ms >= before.generated_ms
    assert await rig.due("u1") is None
    assert metrics.EMPTY._value.get() == empty + 1
    await rig.search("u1", "lamp")  # an immediate repeat is told once: the digest is that of the same prompt
    await rig.worker(garbage, ranker).step()
    assert len(garbage.batches) == 1


@pytest.mark.parametrize(("ranker", "queries"), [(None, []), (Retrieves(), ["sleeping bag"])])
async def test_where_no_list_is_stored_an_empty_one_is(
    make_rig: MakeRig, ranker: Ranker | None, queries: list[str]
) -> None:
    """Not a refresh that never ends; other sources fill up, and a ranker does at once."""
    rig = make_rig()
    await rig.search("u1", "lamp")
    await rig.worker(FakeGenerator(lambda _: GARBAGE), ranker).step()
    found = await rig.u2q("u1")
    assert found is not None
    assert [one.query for one in found.queries] == queries
    assert await rig.due("u1") is None


async def test_one_answer_without_a_usable_query_among_others(make_rig: MakeRig) -> None:
    """Everybody's refresh ends: the model writes lists for others."""
    rig = make_rig()
    for user in ("u1", "u2"):
        await rig.search(user, "tent")
    await rig.worker().step()
    for user, query in (("u1", "lamp"), ("u2", "stove")):
        await rig.search(user, query)
    await rig.worker(FakeGenerator(lambda prompt: GARBAGE if "lamp" in prompt else echo(prompt))).step()
    lists = [await rig.u2q(user) for user in ("u1", "u2")]
    assert [(one.seq, one.queries[0].query) for one in lists if one] == [
        (2, "tent for beginners"), (2, "stove for beginners"),
    ]  # fmt: skip


@pytest.mark.parametrize("ranker", [None, Retrieves()])
@pytest.mark.parametrize("text", ["", " \n \n" * 50, GARBAGE])
async def test_a_batch_without_a_usable_query_is_a_failure(make_rig: MakeRig, ranker: Ranker | None, text: str) -> None:
    """Though the model passes its check: nothing is written, a ranker hides nothing, and tries are bounded."""
    rig = make_rig(retry_s=0.01, max_tries=2)
    users = ["u1", "u2"]
    for user in users:
        await rig.search(user, "tent")
    await rig.worker(ranker=ranker).step()
    before = [await rig.u2q(user) for user in users]
    for user in users:
        await rig.search(user, "lamp")
    generator = FakeGenerator(lambda _: text)
    with pytest.raises(NothingUsable, match="2 answers"):
        await rig.worker(generator, ranker).step()
    assert [await rig.leased(user) for user in users] == [False, False]

    async def both_due() -> bool:
        now = await rig.now_ms()
        return all([(await rig.due(user) or now + 1) <= now for user in users])

    await eventually_async(both_due)  # their pauses differ, and one alone would be one answer without a query
    await rig.worker(generator, ranker).step()
    assert await rig.idle()
    assert [await rig.u2q(user) for user in users] == before
    assert {letter.tries for letter in await DeadLetters(rig.redis, rig.keys).all()} == {2}
    assert sum(map(len, generator.batches)) <= 4


async def test_what_would_be_written_again_is_not_generated_again(make_rig: MakeRig) -> None:
    """The same prompt for the same model and catalogue: the list stays and is as good as new, for free."""
    rig = make_rig()
    generator = FakeGenerator(lambda _: "gas canister")
    worker = rig.worker(generator)
    await rig.search("u1", "tent")
    assert await worker.step() == 1
    before = await rig.u2q("u1")
    key = rig.keys.u2q(shopper_sid("u1"))
    await rig.redis.expire(key, 60)
    await rig.search("u1", "tent")  # an immediate repeat is told once
    assert await worker.step() == 1
    after = await rig.u2q("u1")
    assert len(generator.batches) == 1
    assert before is not None
    assert after is not None
    assert (after.queries, after.digest, after.seq) == (before.queries, before.digest, 2)
    assert after.generated_ms >= before.generated_ms
    assert 0.85 < await rig.redis.ttl(key) / rig.settings.direct.u2q_ttl_s < 1.15, "its life is that of a new list"
    assert await rig.due("u1") is None


async def test_another_model_makes_lists_anew(make_rig: MakeRig) -> None:
    """By activity: when the shopper is due again."""
    rig = make_rig()
    await rig.search("u1", "tent")
    assert await rig.worker(FakeGenerator(lambda _: "gas canister")).step() == 1
    await rig.search("u1", "tent")
    vllm = rig.settings.vllm.model_copy(update={"model": "aigq-next"})
    other = replace(rig, settings=rig.settings.model_copy(update={"vllm": vllm}))
    assert await other.worker(FakeGenerator(lambda _: "sleeping bag")).step() == 1
    found = await rig.u2q("u1")
    assert found is not None
    assert ([q.query for q in found.queries], found.model) == (["sleeping bag"], "aigq-next")
