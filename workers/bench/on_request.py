"""What it would take to generate when a shopper asks: one prompt a request to vLLM, beside an answer of the service.

Both get the same shoppers by turns over as many connections; each sends its next request when the last is answered.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx

from service.contracts.settings import VllmSettings
from service.ranking.catalogue import Catalogue
from workers.bench.common import Figures, machine, spread
from workers.bench.nearline import Running, artefacts_of, burst, ranker_of, running_path
from workers.bench.visitors import Visitor, visitors
from workers.common.dataset import Dataset
from workers.common.ranked_list import Ranker
from workers.common.vllm_client import VllmGenerator
from workers.common.vllm_server import MODEL_NAME

_HINTS_A_SHOPPER: Final = 20
"""Answers of the service are so much faster that one each would be over before it is warm."""


@dataclass(frozen=True)
class Plan:
    """How much to measure: `shoppers` a round, over `connections`."""

    shoppers: int
    repeats: int
    connections: int


def run(plan: Plan, model: Path, data: Path | None, var: Path, tell: Callable[[str], None]) -> dict[str, Any]:
    """Start everything; return answers/s and latencies of both, and the ratios within a round.

    Raises:
        ConfigError: the data has too few shoppers.
        StartError: a part did not come up.
    """
    artefacts = artefacts_of(data, var, tell)
    catalogue = Catalogue.open(artefacts)
    crowd = visitors(Dataset(data or var / "shop"), plan.shoppers * (plan.repeats + 1))
    rounds: list[tuple[Figures, Figures]] = []
    ranked = ranker_of(model)
    with running_path(model, artefacts, var, tell) as path:
        for number in range(plan.repeats + 1):
            some = crowd[number * plan.shoppers : (number + 1) * plan.shoppers]
            burst(some, path)
            measured = asyncio.run(_round(some, path, catalogue, ranked, plan.connections))
            if number:  # the first one warms up
                rounds.append(measured)
                tell(
                    f"round {number}: generated {measured[0]['a_second']:.0f}/s, served {measured[1]['a_second']:.0f}/s"
                )
    catalogue.close()
    return {"plan": asdict(plan), "model": model.name, "machine": machine(), "figures": figures(rounds)}


def figures(rounds: Sequence[tuple[Figures, Figures]]) -> dict[str, Figures]:
    """Return medians and spreads; each round is (generated on request, served)."""
    found = {
        f"{name}_{figure}": spread([one[place][figure] for one in rounds])
        for place, name in enumerate(("generated", "served"))
        for figure in ("a_second", "p50_ms", "p99_ms")
    }
    return {
        "served_over_generated": spread([served["a_second"] / made["a_second"] for made, served in rounds]),
        "p99_generated_over_served": spread([made["p99_ms"] / served["p99_ms"] for made, served in rounds]),
        **found,
    }


async def _round(
    some: Sequence[Visitor],
    path: Running,
    catalogue: Catalogue,
    ranked: tuple[Ranker | None, int],
    connections: int,
) -> tuple[Figures, Figures]:
    prompts = [one.prompt(catalogue, time.time(), *ranked) for one in some]
    async with VllmGenerator(VllmSettings(url=path.vllm, model=MODEL_NAME)) as vllm:
        made = await timed([partial(vllm.generate, [prompt]) for prompt in prompts], connections)
    async with httpx.AsyncClient(base_url=path.service) as client:
        urls = [f"/v1/hints?user_id={one.user_id}" for one in some] * _HINTS_A_SHOPPER
        served = await timed([partial(_served, client, url) for url in urls], connections)
    return made, served


async def _served(client: httpx.AsyncClient, url: str) -> None:
    (await client.get(url)).raise_for_status()


async def timed(calls: Sequence[Callable[[], Awaitable[Any]]], connections: int) -> Figures:
    """Make all `calls`, `connections` at a time; return how many a second, and latencies (ms)."""
    waiting, latencies = iter(calls), list[float]()

    async def one() -> None:
        for call in waiting:
            began = time.perf_counter()
            await call()
            latencies.append(1000 * (time.perf_counter() - began))

    start = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(connections)))
    seconds = time.perf_counter() - start
    latencies.sort()
    at = [latencies[min(len(latencies) - 1, int(share * len(latencies)))] for share in (0.5, 0.99)]
    return {"a_second": len(latencies) / seconds, "p50_ms": at[0], "p99_ms": at[1]}
