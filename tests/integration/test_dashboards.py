"""Every panel of every dashboard, asked of a real Prometheus that scrapes a running service, worker and sink."""

import asyncio
import json
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import prometheus_client
import pytest
import yaml
from redis import Redis

from service.contracts.keys import Keys
from service.contracts.redis import make_redis
from service.contracts.settings import Settings
from service.ranking.shopper_context import ShopperContext
from tests.integration.conftest import NAMESPACE, PARTITIONS
from tests.integration.rig import Rig, echo
from tests.integration.support import Shopper, eventually, eventually_async, free_port, send
from tests.support import require_tool
from workers.common.fake_generator import FakeGenerator
from workers.sink.drain import Sink
from workers.sink.parts import PartStore
from workers.sink.streams import Streams

ROOT = Path(__file__).parents[2]
RULES = ROOT / "configs" / "prometheus"
DASHBOARDS = sorted((ROOT / "configs" / "grafana" / "dashboards").glob("*.json"))
_PATIENCE_S = 60.0


@pytest.fixture
def prometheus(client: httpx.Client, tmp_path: Path) -> Iterator[httpx.Client]:
    """Return a client of a Prometheus that scrapes the session's service and this process each second."""
    require_tool("prometheus", "prometheus", "DASHBOARDS")
    service, (metrics, _) = client.base_url, prometheus_client.start_http_server(0, addr="127.0.0.1")
    own = f"127.0.0.1:{metrics.server_port}"
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES / "recording.yml"), str(RULES / "alerts.yml")],
        "scrape_configs": [
            {
                "job_name": "service",
                "static_configs": [{"targets": [f"{service.host}:{service.port}"]}],
            },
            {"job_name": "direct", "static_configs": [{"targets": [own]}]},
        ],
    }
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    command = [
        "prometheus", f"--config.file={tmp_path / 'prometheus.yml'}", f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn",
    ]  # fmt: skip
    process = subprocess.Popen(command)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as found:
            eventually(lambda: _ready(found))
            yield found
    finally:
        process.terminate()
        process.wait(10)
        metrics.shutdown()
        metrics.server_close()


def _ready(prometheus: httpx.Client) -> bool:
    try:
        return prometheus.get("/-/ready").is_success
    except httpx.TransportError:
        return False


class Likes:
    """A ranker that found one more."""

    def chances(self, context: ShopperContext, generated: Sequence[str] = ()) -> dict[str, float]:
        """See `Ranker.chances`."""
        del context
        return dict.fromkeys([*generated, "camping stove"], 0.1)


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


async def test_every_panel_shows_something(
    client: httpx.Client,
    prometheus: httpx.Client,
    redis: "Redis[bytes]",
    make_rig: Callable[..., Rig],
    make_settings: Callable[..., Settings],
    shopper: Shopper,
    tmp_path: Path,
) -> None:
    """Under load: requests, events, refreshes with dropped and ranked queries, and parts of the sink."""
    rig = make_rig()
    generator = FakeGenerator(lambda prompt: echo(prompt) + "\n<b>")
    worker = rig.worker(generator, Likes())
    settings = make_settings()
    keys = Keys(settings.redis.namespace, settings.redis.partitions)
    sink_redis = make_redis(settings.redis, 5000)
    number = 0
    pointer = Keys(NAMESPACE, PARTITIONS).x2q_pointer()
    redis.set(pointer, "dashboards")  # a version without lists: each lookup finds none

    def visit() -> None:
        shopper.write_u2q("sleeping pad", "tent pole")
        event: dict[str, Any] = {"user_id": shopper.user_id, "type": "search", "query": f"tent {number}"}
        send(client, "POST", "/v1/events", event)
        client.get("/v1/hints", params={"user_id": shopper.user_id}).raise_for_status()

    with PartStore(tmp_path / "logs") as parts:
        sink = Sink(Streams(sink_redis, keys, settings.sink.lease_s), parts, keys.partitions, settings.sink)
        await sink.open()

        async def every_panel_has_data() -> bool:
            nonlocal number
            number += 1
            await asyncio.to_thread(visit)
            await rig.search(f"u{number}", f"tent {number}")
            await worker.step()
            await sink.step()
            await sink.flush()
            missing[:] = await asyncio.to_thread(_without_data, prometheus)
            return not missing

        missing: list[str] = []
        try:
            await eventually_async(every_panel_has_data, _PATIENCE_S)
        except AssertionError:
            pytest.fail(f"no data after {_PATIENCE_S:.0f} s: {missing}")
        finally:
            await sink_redis.aclose()
            redis.delete(pointer)
