"""All of docker-compose.yml as processes, under load, watched by a real Prometheus: every panel shows something."""

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import polars as pl
import pytest

from tests.integration.composed import ROOT, Composed, scraped
from tests.support import require_tool
from workers.common.processes import Processes, aigq, answers

DASHBOARDS = sorted((ROOT / "configs" / "grafana" / "dashboards").glob("*.json"))
_PATIENCE_S = 120.0
_ARMS = [{"name": "control", "share": 0.5}, {"name": "explore", "share": 0.5, "exploration": 0.5}]


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    """Start everything of the profiles cpu, think and watch but Grafana, in the order of the compose file."""
    require_tool("prometheus", "prometheus", "DASHBOARDS")
    folder = tmp_path_factory.mktemp("composed")
    extra = {
        "AIGQ_SINK_FLUSH_S": "1", "AIGQ_SINK_POLL_S": "0.1", "AIGQ_THINK_MAX_ITEMS": "20",
        "AIGQ_EXPERIMENTS_ARMS": json.dumps(_ARMS), "AIGQ_REDIS_PARTITIONS": "16",
    }  # fmt: skip
    with Processes(folder / "process-logs") as processes:
        made = processes.start(
            "shop", aigq("shop", "generate", "--shoppers", "300", "--days", "5", "--out", str(folder / "data")), {}
        )
        assert made.wait(120) == 0, processes.log("shop").read_text()
        stack = Composed(folder, folder / "data", processes, extra)
        stack.up("vllm-cpu", "service", "direct", "sink", "think")
        for name in ("service", "direct", "sink"):
            stack.await_healthy(name)
        processes.start("prometheus", scraped(stack, folder), {})
        processes.wait_ready("prometheus", lambda: answers(f"{stack.url('prometheus:9090')}/-/ready"), 60)
        yield stack


def _without_data(prometheus: httpx.Client) -> list[str]:
    """Return the panels' queries that return nothing; one that errs fails the test."""
    empty = []
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
            for target in panel["targets"]:
                query = target["expr"].replace("$__rate_interval", "15s")
                answer = prometheus.get("/api/v1/query", params={"query": query}).json()
                assert answer["status"] == "success", (panel["title"], query, answer)
                if not any(one["value"][1] != "NaN" for one in answer["data"]["result"]):
                    empty.append(f"{path.stem}: {panel['title']}: {query}")
    return empty


def _visit(service: httpx.Client, user_id: str, actions: list[dict[str, Any]]) -> None:
    """Let a shopper act, look at the hints, and click the first of each source."""
    service.post("/v1/events", json=[{"user_id": user_id, **one} for one in actions]).raise_for_status()
    told = service.get("/v1/hints", params={"user_id": user_id}).raise_for_status().json()
    clicked: set[str] = set()
    feedback = []
    for position, hint in enumerate(told["hints"]):
        about = {"request_id": told["request_id"], "query": hint["query"], "position": position, "user_id": user_id}
        feedback.append({"type": "hint_exposure", **about})
        if hint["source"] not in clicked:
            feedback.append({"type": "hint_click", **about})
            clicked.add(hint["source"])
    service.post("/v1/events", json=feedback).raise_for_status()


@pytest.mark.vllm
def test_every_panel_shows_something(composed: Composed) -> None:
    """Under load, with the real model behind it; feedback, exploration, drops and costs included."""
    events = pl.read_parquet(composed.data / "events" / "*.parquet").filter(pl.col("type").is_in(["search", "click"]))
    acts = events.select("type", "query", "item_id").sample(2000, seed=7, with_replacement=True).to_dicts()
    actions = [{name: value for name, value in act.items() if value is not None} for act in acts]
    end, number = time.monotonic() + _PATIENCE_S, 0
    with (
        httpx.Client(base_url=composed.url("service:8000"), timeout=20) as service,
        httpx.Client(base_url=composed.url("prometheus:9090"), timeout=20) as prometheus,
    ):
        while empty := _without_data(prometheus):
            assert time.monotonic() < end, empty
            for _ in range(10):
                number += 1
                _visit(service, f"u{number % 100}", [actions[(3 * number + at) % len(actions)] for at in range(3)])


def test_health_checks_tell_when_a_part_is_gone(composed: Composed) -> None:
    """Each check that passed above fails for a port where nobody listens."""
    deaf = Composed(composed.folder, composed.data, composed.processes, {})
    for name in ("service", "direct", "sink", "vllm-cpu"):
        assert not deaf.healthy(name)
