"""Memory of the service over many requests: its resident set after a warm-up, and while load goes on.

Caches fill during the warm-up; what still grows afterwards would be a leak.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from workers.bench.arena import Plan, Server, arena, load
from workers.bench.common import Figures, machine, rss_mib, spread
from workers.common.processes import aigq

_SHORT_STREAMS: Final = "AIGQ_REDIS_STREAM_MAXLEN=1000"
"""Nobody drains the served log here, and Redis shares the machine."""


def run(plan: Plan, warm_up: int, requests: int, var: Path, tell: Callable[[str], None]) -> dict[str, Any]:
    """Send at least `warm_up` requests, then `requests` more; return the memory at each sample, and what it grew by.

    A sample is taken after each `plan.seconds` of load.

    Raises:
        ConfigError: wrk is missing, there is only one core, or requests failed.
    """
    with arena(plan, var, tell, {"hints": ["env", _SHORT_STREAMS, *aigq("serve")]}) as (_, servers):
        server = servers["hints"]
        before = _sent(server, plan, warm_up, tell)
        samples = _sent(server, plan, requests, tell)
    return {
        "plan": {**asdict(plan), "warm_up": warm_up, "requests": requests},
        "machine": machine(),
        "figures": figures(before[-1], samples),
        "samples": [{"requests": sent, "rss_mib": memory} for sent, memory in samples],
    }


def figures(warm: tuple[int, float], samples: Sequence[tuple[int, float]]) -> dict[str, Figures]:
    """Return memory (MiB) when warm, in all samples and at the end, each a (requests, MiB) pair; and the growth.

    A server has one state at a time, so only `rss_mib` has a spread.
    """
    sent, end = samples[-1]
    return {
        "rss_warm_mib": spread([warm[1]]),
        "rss_end_mib": spread([end]),
        "rss_mib": spread([memory for _, memory in samples]),
        "growth_share": spread([end / warm[1] - 1]),
        "growth_bytes_a_request": spread([(end - warm[1]) * 2**20 / sent]),
        "requests": spread([sent]),
    }


def _sent(server: Server, plan: Plan, requests: int, tell: Callable[[str], None]) -> list[tuple[int, float]]:
    """Send at least so many requests; return how many there were, and the memory (MiB), after each run of load."""
    samples = [(0, rss_mib(server.pid))]
    while samples[-1][0] < requests:
        sent = samples[-1][0] + round(load(server.url, plan, plan.seconds)["requests"])
        samples.append((sent, rss_mib(server.pid)))
        tell(f"{sent:,} requests: {samples[-1][1]:.1f} MiB")
    return samples
