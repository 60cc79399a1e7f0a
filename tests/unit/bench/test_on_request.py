"""Generation on request beside the service: how calls are timed, and what is told."""

import asyncio

from workers.bench.on_request import figures, timed


async def test_calls_are_made_once_and_so_many_at_a_time() -> None:
    """Each connection waits for its answer before it asks again."""
    at_work = most = made = 0
    ready = asyncio.Event()

    async def call() -> None:
        nonlocal at_work, most, made
        at_work, made = at_work + 1, made + 1
        most = max(most, at_work)
        if at_work == 3:
            ready.set()
        await ready.wait()
        at_work -= 1

    found = await timed([call] * 12, 3)
    assert (made, most) == (12, 3)
    assert 0 < found["p50_ms"] <= found["p99_ms"]
    assert found["a_second"] > 0


def test_ratios_are_of_one_round() -> None:
    """Medians of ratios, not ratios of medians."""
    rounds = [
        ({"a_second": made, "p50_ms": 1.0, "p99_ms": late}, {"a_second": served, "p50_ms": 1.0, "p99_ms": 2.0})
        for made, served, late in ((10.0, 100.0, 20.0), (20.0, 100.0, 40.0), (10.0, 300.0, 60.0))
    ]
    found = figures(rounds)
    assert found["served_over_generated"] == {"median": 10.0, "min": 5.0, "max": 30.0}
    assert found["p99_generated_over_served"]["median"] == 20.0
    assert found["generated_a_second"]["median"] == 10.0
