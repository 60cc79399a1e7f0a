"""All that the online engine promises, measured in one run: its JSON is what a release is judged by."""

import importlib.util
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import orjson

from service.contracts.errors import ConfigError
from workers.bench import latency, on_request, serving, soak
from workers.bench.arena import Plan, arena
from workers.bench.common import Figures, machine
from workers.common.processes import free_port

_SOAK_SHOPPERS: Final = 20_000
"""Enough that caches are full when they are warm."""
_OPEN_CONNECTIONS: Final = 32
"""An open loop needs one idle whenever a request is due; the default of `aigq bench latency`."""
_GENERATED: Final = on_request.Plan(shoppers=128, repeats=3, connections=8)


@dataclass(frozen=True)
class Extent:
    """What is measured beside serving: answers in each trouble; of the soak; and by `model`, if any, when asked."""

    late: int
    """Requests while Redis is well, frozen, slow and dead, each."""
    soak: int
    """Requests after the warm-up; 0: no soak."""
    model: Path | None
    """A checkpoint to generate with on request; None: without."""


def run(plan: Plan, extent: Extent, feast: Path | None, var: Path, tell: Callable[[str], None]) -> dict[str, Any]:
    """Measure serving and latency on one Redis, then the soak and generating on request; return one report.

    The soak's figures begin with `soak_`, those of generating with `on_request_`. What is known after each part is
    written to `var`/serving-all.json, so that a part that fails, or Ctrl-C, loses only itself.

    Raises:
        ConfigError: wrk or vLLM is missing, there is only one core, or requests failed.
        StartError: a part did not come up.
    """
    if extent.model is not None and importlib.util.find_spec("vllm") is None:
        raise ConfigError("vLLM is not installed; leave out what needs it: --without on-request")
    detour = free_port()
    commands = {**serving.commands(plan, var, feast), **latency.commands(detour)}
    with arena(plan, var, tell, commands) as (redis, servers), latency.few_arena(plan, var, tell) as few:
        tell("serving: by turns")
        found = serving.measured(servers, plan, tell)
        plans = {**asdict(plan), "late": extent.late, "soak": extent.soak}
        report = {"plan": plans, "machine": machine(), "figures": found}
        _keep(report, var, tell)
        tell("latency: at a constant rate")
        opened = replace(plan, connections=_OPEN_CONNECTIONS)
        found |= latency.measured(redis, {**servers, **few}, detour, opened, extent.late, tell)
    _keep(report, var, tell)
    if extent.soak:
        tell(f"soak: {extent.soak:,} requests")
        steady = replace(plan, shoppers=min(_SOAK_SHOPPERS, plan.shoppers))
        soaked = soak.run(steady, max(1, extent.soak // 10), extent.soak, var, tell)
        found |= _named("soak", soaked["figures"])
        report["samples"] = soaked["samples"]
        _keep(report, var, tell)
    if extent.model is not None:
        tell("generating on request")
        generated = on_request.run(_GENERATED, extent.model, None, var / "nearline", tell)
        found |= _named("on_request", generated["figures"])
        _keep(report, var, tell)
    return report


def _keep(report: dict[str, Any], var: Path, tell: Callable[[str], None]) -> None:
    path = var / "serving-all.json"
    path.write_bytes(orjson.dumps(report))
    tell(f"so far: {path}")


def _named(prefix: str, figures: dict[str, Figures]) -> dict[str, Figures]:
    return {f"{prefix}_{name}": figure for name, figure in figures.items()}
