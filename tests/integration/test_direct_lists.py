"""What the Direct worker writes: ranked where there is a ranker, and small."""

from collections.abc import Callable, Sequence

from service.contracts.keys import shopper_sid
from service.ranking.shopper_context import ShopperContext
from tests.integration.rig import Rig
from workers.common.fake_generator import FakeGenerator

MakeRig = Callable[..., Rig]


async def test_a_ranker_orders_what_is_written(make_rig: MakeRig) -> None:
    """It hears of the shopper and of what the model wrote; the list is its order, filtered like any other."""
    rig = make_rig()
    await rig.search("u1", "tent")
    asked: list[tuple[ShopperContext, Sequence[str]]] = []

    class Reversed:
        def chances(self, context: ShopperContext, generated: Sequence[str] = ()) -> dict[str, float]:
            asked.append((context, generated))
            return dict.fromkeys(["sleeping bag", "<b>", "tent", *reversed(generated)], 0.1)

    generator = FakeGenerator(lambda _: "gas canister\ncamping stove")
    worker = rig.worker(generator, Reversed())
    assert await worker.step() == 1
    found = await rig.u2q("u1")
    assert found is not None
    assert [q.query for q in found.queries] == ["sleeping bag", "camping stove", "gas canister"]
    ((context, generated),) = asked
    assert [entry.ref for entry in context.behaviour] == ["tent"]
    assert list(generated) == ["gas canister", "camping stove"]


async def test_a_list_is_small(make_rig: MakeRig) -> None:
    """Ten hints of ordinary length take at most 600 bytes of Redis, key and all."""
    rig = make_rig()
    await rig.search("u1", "keyboard")
    queries = [
        "clackwell mechanical keyboard",
        "65 percent keyboard black",
        "wireless earbuds for running",
        "红轴机械键盘",
    ]
    lines = [f"{query} {number}" for number in range(4) for query in queries][:10]
    assert await rig.worker(FakeGenerator(lambda _: "\n".join(lines))).step() == 1
    found = await rig.u2q("u1")
    assert found is not None
    assert len(found.queries) == 10
    assert await rig.redis.memory_usage(rig.keys.u2q(shopper_sid("u1"))) <= 600
