"""`aigq evaluate` as a user runs it: on a generated shop, with bad input, and with a real model."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.support import clean_environment
from workers.common.dataset import Dataset
from workers.evaluation.merged import ROWS
from workers.evaluation.sample_shop import sample_shop

ROOT = Path(__file__).parents[2]
METHODS = {
    "popular",
    "popular_segment",
    "repeat",
    "co_click",
    "repeat+co_click",
    "als",
    "bm25_cf",
    "bm25_text",
    "embedding",
}


def _aigq(*arguments: str, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "workers.cli", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=timeout_s, check=False
    )


def _figures(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small sample shop's logs."""
    path = tmp_path_factory.mktemp("shop") / "data"
    done = _aigq("shop", "generate", "--shoppers", "600", "--days", "20", "--seed", "3", "--out", str(path))
    assert done.returncode == 0, done.stderr
    return path


def test_baselines_on_a_generated_shop(shop: Path, tmp_path: Path) -> None:
    """All are there, two runs say the same, nothing goes to stdout but the line, and the report is written."""
    arguments = ("evaluate", "--data", str(shop), "--baselines-only", "--cases", "60", "--json", "--out", str(tmp_path))
    done = _aigq(*arguments)
    found = _figures(done)
    assert set(found["methods"]) == set(found["cold"]) == METHODS
    assert len(done.stdout.splitlines()) == 1
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr
    assert (tmp_path / "report.html").stat().st_size > 50_000
    again = _figures(_aigq(*arguments))
    del found["seconds"], again["seconds"]
    assert again == found


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--data", "docs", "--baselines-only"),
            "docs/manifest.json: missing; a dataset comes from",
        ),
        (("--data", "SHOP", "--compare", "sft=tests"), "tests/config.json: missing, so tests is not a checkpoint"),
        (("--baselines-only", "--calibrated", "--data", "SHOP"), "--calibrated needs a CTR ranker"),
        (("--model", "docs", "--data", "SHOP"), "docs/config.json: missing, so docs is not a checkpoint"),
    ],
)
def test_bad_input_is_one_line_that_names_the_file(shop: Path, arguments: tuple[str, ...], message: str) -> None:
    """No traceback, exit code 1."""
    done = _aigq("evaluate", *(str(shop) if one == "SHOP" else one for one in arguments))
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_default_dataset_is_generated_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Into the user's cache, under a name that says which shop, size and seed it is."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = sample_shop(shoppers=30)
    assert path.is_relative_to(tmp_path)
    manifest = Dataset(path).manifest
    assert manifest["shoppers"] == 30
    assert manifest["shop_hash"][:12] in path.name
    written = (path / "manifest.json").stat().st_mtime_ns
    assert sample_shop(shoppers=30) == path
    assert (path / "manifest.json").stat().st_mtime_ns == written


@pytest.mark.vllm
def test_the_shipped_model_beside_the_baselines(shop: Path, tmp_path: Path) -> None:
    """Its own list and what is served, with and without it, are rows, and again as a CTR ranker weighs the sources."""
    trained = _aigq("train", "ctr", "--data", str(shop), "--out", str(tmp_path / "ctr"))
    assert trained.returncode == 0, trained.stderr[-3000:]
    arguments = ("--data", str(shop), "--cases", "40", "--ctr", str(tmp_path / "ctr"), "--calibrated", "--json")
    found = _figures(_aigq("evaluate", *arguments, timeout_s=600))
    assert set(found["methods"]) == {*METHODS, "il_sft", *ROWS}
    assert max(found["calibration"].values()) == 1
    assert found["format_valid"] > 0.9
    assert 0 <= found["dup_rate"] < 0.5
    assert 0 < found["in_catalogue"] <= 1
    assert 10 < found["tokens_compressed"] < 400
    assert found["methods"]["aigq"]["length"] > 8
