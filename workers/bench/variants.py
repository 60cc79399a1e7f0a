"""Which of the things that could make the service faster do: each variant has one thing changed, all by turns."""

import importlib.util
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import httpx

from service.contracts.errors import ConfigError
from workers.bench import compiled
from workers.bench.arena import Plan, Rounds, Server, arena, by_turns
from workers.bench.common import Figures, machine, spread
from workers.bench.store import shopper
from workers.common.processes import aigq

SHIPPED: Final = "shipped"
_TRIES: Final = 10
_ASKED: Final = 20
NAMES: Final = {
    "same": "the shipped service once more: what differs is noise",
    "asyncio_loop": "asyncio's event loop instead of uvloop",
    "h11": "h11 instead of httptools",
    "fewer_headers": "neither date nor server header",
    "granian": "granian instead of uvicorn",
    "python_parser": "redis-py's parser and packer in Python instead of hiredis",
    "redis_pool": "redis-py's pool of connections instead of one pipelined connection",
    "routed": "GET /v1/hints through FastAPI's routing",
    "starlette_response": "Starlette's response instead of bytes at hand",
    "gc_not_frozen": "the garbage collector looks through imported libraries, too",
    "gc_rare": "the garbage collector at a threshold of 50,000",
    "gc_off": "no garbage collector",
    "optimized": "python -O",
    "malloc": "the C library's malloc instead of Python's",
    "huge_pages": "the C library's malloc on huge pages",
    "mypyc": "ranking and codecs compiled by mypyc",
    "unmetered": "metrics count nothing",
}
"""What each variant changes."""

_ENVIRONMENT: Final = {
    "optimized": ("PYTHONOPTIMIZE=1",),
    "malloc": ("PYTHONMALLOC=malloc",),
    "huge_pages": ("PYTHONMALLOC=malloc", "GLIBC_TUNABLES=glibc.malloc.hugetlb=1"),
}


def run(plan: Plan, only: Collection[str], var: Path, tell: Callable[[str], None]) -> dict[str, Any]:
    """Load the shipped service and the variants by turns; return requests/s and CPU a request of each, and ratios.

    Variants that this machine lacks something for, and those that answer something else, are left out, and the report
    says why.

    Raises:
        ConfigError: wrk is missing, there is only one core, or `only` names what there is not.
    """
    if unknown := set(only) - set(NAMES):
        raise ConfigError(f"there is no variant {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    wanted = [name for name in NAMES if not only or name in only]
    skipped = {name: why for name in wanted if (why := missing(name)) is not None}
    for name, why in skipped.items():
        tell(f"{name} is left out: {why}")
    commands: dict[str, Sequence[str]] = {SHIPPED: aigq("serve")}
    for name in wanted:
        if name == "mypyc" and name not in skipped:
            commands[name] = compiled.command(var / "compiled", var / "logs" / "mypyc-build.log", tell)
        elif name not in skipped:
            commands[name] = command(name)
    with arena(plan, var, tell, commands) as (_, servers):
        for name, why in wrong(servers).items():
            skipped[name] = why
            tell(f"{name} is left out: {why}")
        rounds = by_turns({name: server for name, server in servers.items() if name not in skipped}, plan, tell)
    changes = {name: NAMES[name] for name in wanted}
    found = {"plan": asdict(plan), "machine": machine(), "changes": changes, "skipped": skipped}
    return {**found, "figures": figures(rounds)}


def missing(name: str) -> str | None:
    """Return what this machine lacks for a variant, if anything."""
    if name == "granian" and importlib.util.find_spec("granian") is None:
        return "granian is not installed: pip install granian"
    return compiled.missing() if name == "mypyc" else None


def command(name: str) -> Sequence[str]:
    """Return what serves a variant that needs no building."""
    if name == "same":
        return aigq("serve")
    if name in _ENVIRONMENT:
        return ["env", *_ENVIRONMENT[name], *aigq("serve")]
    return [sys.executable, "-m", "workers.bench.variant", name]


def wrong(servers: Mapping[str, Server]) -> dict[str, str]:
    """Return the variants whose hints are not the shipped service's: one that reads nothing from Redis is fast.

    Raises:
        ConfigError: the shipped service itself misses its budget.
    """
    whole = [found for _ in range(_TRIES) if (found := _answers(servers[SHIPPED])) is not None]
    if not whole:
        raise ConfigError("the service cannot answer in whole within its budget: this machine is too busy to compare")
    why = "it answers something else than the shipped service; its log is in the directory of --var"
    return {
        name: why
        for name, server in servers.items()
        if name != SHIPPED and not any(_answers(server) == whole[-1] for _ in range(_TRIES))
    }


def _answers(server: Server) -> list[list[str]] | None:
    """Return the hints of some shoppers; None if a request failed, or was cut short by its deadline."""
    with httpx.Client(base_url=server.url, timeout=5.0) as client:
        answers = [client.get("/v1/hints", params={"user_id": shopper(number)}) for number in range(_ASKED)]
    if any(one.status_code != httpx.codes.OK or one.json()["degraded"] for one in answers):
        return None
    return [[hint["query"] for hint in one.json()["hints"]] for one in answers]


def figures(rounds: Rounds) -> Mapping[str, Figures]:
    """Return each variant's requests/s and CPU a request, and both to the shipped service's of the same round.

    Above 1 is faster, respectively dearer.
    """
    found = {}
    for name, some in rounds.items():
        pairs = list(zip(some, rounds[SHIPPED], strict=True))
        found[f"{name}_requests_s"] = spread([one["requests_s"] for one in some])
        found[f"{name}_cpu_us"] = spread([one["cpu_us"] for one in some])
        if name != SHIPPED:
            found[f"{name}_speed"] = spread([one["requests_s"] / base["requests_s"] for one, base in pairs])
            found[f"{name}_cost"] = spread([one["cpu_us"] / base["cpu_us"] for one, base in pairs])
    return found
