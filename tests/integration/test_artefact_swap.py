"""A running service takes the next artefact as soon as it is current, and keeps what it has if that is broken."""

import shutil
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from service.ranking.catalogue import CURRENT, ITEMS, MANIFEST
from tests.integration.support import eventually, free_port, service
from tests.support import POPULAR_WITH_ALL
from workers.common import artefacts

NEXT = "sleeping bag"
"""What is most searched in the next artefact."""


@pytest.fixture
def root(artefact_root: Path, tmp_path: Path) -> Path:
    """Return a copy of the artefact, to publish beside."""
    return Path(shutil.copytree(artefact_root, tmp_path / "root"))


@pytest.fixture
def next_dataset(dataset: Path, tmp_path: Path) -> Path:
    """Return a dataset in which something else is popular."""
    path = Path(shutil.copytree(dataset, tmp_path / "dataset"))
    rows = [(f"n{number}", 1000.0, "search", NEXT, None) for number in range(50)]
    schema = {"user_id": pl.String, "ts": pl.Float64, "type": pl.String, "query": pl.String, "item_id": pl.String}
    pl.DataFrame(rows, schema=schema, orient="row").write_parquet(path / "events" / "part-1.parquet")
    return path


def _first(client: httpx.Client) -> str:
    answer = client.get("/v1/hints")
    assert answer.status_code == httpx.codes.OK
    body: dict[str, Any] = answer.json()
    return str(body["hints"][0]["query"])


def _version(client: httpx.Client) -> str:
    """Return what `/readyz` says; hints are answered all the while."""
    assert _first(client) in {POPULAR_WITH_ALL, NEXT}
    ready = client.get("/readyz")
    assert ready.status_code == httpx.codes.OK
    return str(ready.json()["artefact"])


@pytest.mark.parametrize("name", [ITEMS, MANIFEST])
def test_the_next_artefact_is_taken_and_a_broken_one_is_not(
    root: Path, next_dataset: Path, tmp_path: Path, name: str
) -> None:
    """Whole, cut in half, whole again, and back."""
    first, log = (root / CURRENT).read_text().strip(), tmp_path / "service.log"
    with service(free_port(), root, log) as client:
        assert (_version(client), _first(client)) == (first, POPULAR_WITH_ALL)

        broken = Path(shutil.copytree(root / first, root / "00002-broken"))
        content = (broken / name).read_bytes()
        (broken / name).write_bytes(content[: len(content) // 2])
        (root / CURRENT).write_text(broken.name)
        eventually(lambda: f"artefact: kept {first}" in log.read_text())
        assert (_version(client), _first(client)) == (first, POPULAR_WITH_ALL)

        shutil.rmtree(broken)
        second = artefacts.build(next_dataset, root)
        eventually(lambda: _version(client) == second)
        assert _first(client) == NEXT

        (root / CURRENT).write_text(first)
        eventually(lambda: _version(client) == first)
        assert _first(client) == POPULAR_WITH_ALL, "the way back is open too"
