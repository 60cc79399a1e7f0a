"""Requests/s of the full hints endpoint beside those of a bare route, by turns, on pinned cores."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from workers.bench.arena import Plan, Rounds, Server, arena, by_turns
from workers.bench.common import Figures, machine, spread
from workers.bench.open_loop import at_rate
from workers.common.processes import aigq

Report = dict[str, Any]
_LOADS: Final = {"at_feasts_saturation": 1.0, "at_70pct_of_feasts_saturation": 0.7}
"""At its saturation an open loop lets Feast's queue grow for as long as is asked; at 70% it does not."""


def run(plan: Plan, var: Path, tell: Callable[[str], None], feast: Path | None = None) -> Report:
    """Load the service and the bare route by turns; return requests/s, latencies and their ratio.

    With `feast`, an interpreter that has Feast, its feature server too; and the latencies of both at the load that
    saturates Feast.

    Raises:
        ConfigError: wrk is missing, or there is only one core.
    """
    with arena(plan, var, tell, commands(plan, var, feast)) as (_, servers):
        found = measured(servers, plan, tell)
    return {"plan": asdict(plan), "machine": machine(), "figures": found}


def commands(plan: Plan, var: Path, feast: Path | None) -> dict[str, list[str]]:
    """Return the servers to measure, by name."""
    found = {"hints": aigq("serve"), "bare": [sys.executable, "-m", "workers.bench.bare"]}
    if feast is not None:
        script = Path(__file__).with_name("feast_server.py")
        found["feast"] = [str(feast), str(script), str(var / "feast"), str(plan.shoppers)]
    return found


def measured(servers: Mapping[str, Server], plan: Plan, tell: Callable[[str], None]) -> dict[str, Figures]:
    """Load those of `servers` that are compared; return the figures."""
    rounds = by_turns({name: servers[name] for name in ("hints", "bare", "feast") if name in servers}, plan, tell)
    found = figures(rounds)
    return found | _beside_feast(servers, rounds, plan, tell) if "feast" in servers else found


def _beside_feast(
    servers: Mapping[str, Server], rounds: Rounds, plan: Plan, tell: Callable[[str], None]
) -> dict[str, Figures]:
    """Return ratios of requests/s, and of latencies by the same open loop at loads that Feast's saturation sets."""
    pairs = list(zip(rounds["hints"], rounds["feast"], strict=True))
    found = {"ratio_vs_feast": spread([ours["requests_s"] / other["requests_s"] for ours, other in pairs])}
    saturation = spread([one["requests_s"] for one in rounds["feast"]])["median"]
    for name, share in _LOADS.items():
        p99: dict[str, list[float]] = {"hints": [], "feast": []}
        for _ in range(plan.repeats):
            for kind, values in p99.items():
                values.append(at_rate(servers[kind], share * saturation, plan, kind).percentile(0.99))
        tell(f"p99 {name}: {p99['hints'][-1]:.1f} ms, Feast {p99['feast'][-1]:.1f} ms")
        found[f"p99_ms_{name}"], found[f"feast_p99_ms_{name}"] = spread(p99["hints"]), spread(p99["feast"])
        found[f"p99_ratio_{name}"] = spread([o / t for o, t in zip(*p99.values(), strict=True)])
    return found


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
