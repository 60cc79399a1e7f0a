"""Requests/s of the full hints endpoint beside those of a bare route, by turns, on pinned cores."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from workers.bench.arena import Plan, arena, by_turns
from workers.bench.common import Figures, machine, spread
from workers.bench.latency import at_rate
from workers.common.processes import aigq

Report = dict[str, Any]


def run(plan: Plan, var: Path, tell: Callable[[str], None], feast: Path | None = None) -> Report:
    """Load the service and the bare route by turns; return requests/s, latencies and their ratio.

    With `feast`, an interpreter that has Feast, its feature server too; and the service's latency at the load that
    saturates Feast.

    Raises:
        ConfigError: wrk is missing, or there is only one core.
    """
    commands = {"hints": aigq("serve"), "bare": [sys.executable, "-m", "workers.bench.bare"]}
    if feast is not None:
        script = Path(__file__).with_name("feast_server.py")
        commands["feast"] = [str(feast), str(script), str(var / "feast"), str(plan.shoppers)]
    with arena(plan, var, tell, commands) as (_, servers):
        rounds = by_turns(servers, plan, tell)
        found = figures(rounds)
        if feast is not None:
            rate = found["feast_requests_s"]["median"]
            calm = [at_rate(servers["hints"], rate, plan).percentile(0.99) for _ in range(plan.repeats)]
            saturated = [one["p99_ms"] for one in rounds["feast"]]
            pairs = list(zip(rounds["hints"], rounds["feast"], strict=True))
            found["ratio_vs_feast"] = spread([ours["requests_s"] / other["requests_s"] for ours, other in pairs])
            found["p99_ms_at_feasts_saturation"] = spread(calm)
            found["p99_ratio_at_feasts_saturation"] = spread([o / t for o, t in zip(calm, saturated, strict=True)])
    return {"plan": asdict(plan), "machine": machine(), "figures": found}


def figures(rounds: Mapping[str, Sequence[Figures]]) -> dict[str, Figures]:
    """Return median and spread of each server's figures, and of the ratio of the two in each round."""
    found = {
        f"{name}_{figure}": spread([one[figure] for one in some])
        for name, some in rounds.items()
        for figure in ("requests_s", "p50_ms", "p99_ms", "cpu_us")
    }
    pairs = list(zip(rounds["hints"], rounds["bare"], strict=True))
    return {
        "ratio_vs_bare": spread([ours["requests_s"] / other["requests_s"] for ours, other in pairs]),
        "cpu_ratio_vs_bare": spread([other["cpu_us"] / ours["cpu_us"] for ours, other in pairs]),
        **found,
    }
