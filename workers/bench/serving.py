"""Requests/s of the full hints endpoint beside those of a bare route, by turns, on pinned cores."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from workers.bench.arena import Plan, arena, by_turns
from workers.bench.common import Figures, machine, spread
from workers.common.processes import aigq

Report = dict[str, Any]


def run(plan: Plan, var: Path, tell: Callable[[str], None]) -> Report:
    """Load the service and the bare route by turns; return requests/s, latencies and their ratio.

    Raises:
        ConfigError: wrk is missing, or there is only one core.
    """
    commands = {"hints": aigq("serve"), "bare": [sys.executable, "-m", "workers.bench.bare"]}
    with arena(plan, var, tell, commands) as (_, servers):
        rounds = by_turns(servers, plan, tell)
    return {"plan": asdict(plan), "machine": machine(), "figures": figures(rounds)}


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
