"""What metrics cost: the service beside itself without any, by turns; and the CPU of a scrape."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import httpx

from workers.bench import variants
from workers.bench.arena import Plan, Server, arena, by_turns
from workers.bench.common import machine, spread
from workers.common.processes import aigq

_SCRAPES: Final = 50
_INTERVAL_S: Final = 15.0
"""Between two scrapes, as in configs/prometheus/prometheus.yml."""


def run(plan: Plan, var: Path, tell: Callable[[str], None]) -> dict[str, Any]:
    """Return the share of a request's CPU that metrics cost, and the share of a core that scrapes take.

    Raises:
        ConfigError: wrk is missing, or there is only one core.
    """
    commands = {"metered": aigq("serve"), "unmetered": variants.command("unmetered")}
    with arena(plan, var, tell, commands) as (_, servers):
        rounds = by_turns(servers, plan, tell)
        scrapes = [_scrape(servers["metered"]) for _ in range(plan.repeats)]
    pairs = zip(rounds["metered"], rounds["unmetered"], strict=True)
    figures = {
        "metrics_share": spread([1 - other["cpu_us"] / ours["cpu_us"] for ours, other in pairs]),
        "scrape_core_share": spread([seconds / _INTERVAL_S for seconds in scrapes]),
        "scrape_ms": spread([1000 * seconds for seconds in scrapes]),
        **{f"{name}_cpu_us": spread([one["cpu_us"] for one in some]) for name, some in rounds.items()},
    }
    return {"plan": asdict(plan), "machine": machine(), "figures": figures}


def _scrape(server: Server) -> float:
    """Return the CPU seconds that one scrape takes of the server, mean of many."""
    before_s = server.cpu_s()
    with httpx.Client() as client:
        for _ in range(_SCRAPES):
            client.get(f"{server.url}/metrics").raise_for_status()
    return (server.cpu_s() - before_s) / _SCRAPES
