"""`aigq train all`, at toy size: any dataset goes down the whole road, and a kill at any point costs little."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from tests.integration.support import clean_environment, eventually

ROOT = Path(__file__).parents[2]


def command(*arguments: str) -> list[str]:
    """Return what runs `aigq`."""
    return [sys.executable, "-m", "workers.cli", *arguments]


def aigq(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `aigq` to its end."""
    return subprocess.run(
        command(*arguments),
        cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def figures(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return the last line's JSON."""
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def losses(work: Path) -> list[float]:
    """Return the logged losses of a stage, in the order of steps."""
    lines = [json.loads(line) for line in (work / "loss.jsonl").read_text(encoding="utf-8").splitlines()]
    return [line["loss"] for line in lines]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small sample shop's logs."""
    path = tmp_path_factory.mktemp("shop") / "data"
    done = aigq("shop", "generate", "--shoppers", "900", "--days", "20", "--seed", "3", "--out", str(path))
    assert done.returncode == 0, done.stderr
    return path


def test_the_whole_road_is_resumed_after_a_kill(shop: Path, tmp_path: Path) -> None:
    """Ranker, judge, histories, lists: what was done before the kill stays, loss falls, nothing half-made is named."""
    out = tmp_path / "toy"
    road = ("train", "all", "--data", str(shop), "--recipe", "smoke", "--out", str(out))
    process = subprocess.Popen(
        command(*road), cwd=ROOT, env=clean_environment(), start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        eventually(lambda: any((tmp_path / "toy.lm.work").glob("checkpoint-*")), patience_s=200)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert not out.exists()
    ranker = (tmp_path / "toy-ctr" / "meta.json").stat().st_mtime_ns

    found = figures(aigq(*road))
    assert (found["model"], found["ctr"], found["judge"]) == (str(out), f"{out}-ctr", f"{out}-judge")
    assert (tmp_path / "toy-ctr" / "meta.json").stat().st_mtime_ns == ranker
    stages = ["ctr", "judge", "ranker", "samples", "histories", "lists"]
    assert list(found["seconds"]) == stages
    assert all(found["seconds"].values())
    card = (out / "README.md").read_text(encoding="utf-8")
    assert all(f"seconds of {stage}: " in card for stage in stages)
    for stage in ("toy.lm.work", "toy.work"):
        measured = losses(tmp_path / stage)
        assert measured[-1] < 0.95 * measured[0], stage

    again = figures(aigq(*road))
    for done in (found, again):
        for stage in ("ranker", "samples"):  # made anew
            del done["seconds"][stage]
    assert again == found, "nothing was left to train"


def test_logs_without_exposures_are_learned_from_searches(shop: Path, tmp_path: Path) -> None:
    """Most shops' logs: no ranker of clicks, but a model all the same, and it is said."""
    data = tmp_path / "data"
    (data / "events").mkdir(parents=True)
    for name in ("manifest.json", "items.parquet", "profiles.parquet"):
        (data / name).write_bytes((shop / name).read_bytes())
    for part in (shop / "events").glob("*.parquet"):
        pl.read_parquet(part).filter(~pl.col("type").str.starts_with("hint_")).write_parquet(
            data / "events" / part.name
        )
    manifest = orjson.loads((data / "manifest.json").read_bytes())
    (data / "manifest.json").write_bytes(orjson.dumps({**manifest, "source": "test"}))
    done = aigq("train", "all", "--data", str(data), "--recipe", "smoke", "--out", str(tmp_path / "toy"))
    assert set(figures(done)) & {"model", "ctr", "judge"} == {"model"}
    assert "no hint exposures" in done.stderr
    assert (tmp_path / "toy" / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--recipe", "nosuch"),
            "configs/train/nosuch.toml: there is no such recipe; known: mini, mini-plain, qwen3-0.6b",
        ),
        (("--data", "docs"), "docs/manifest.json: missing; a dataset comes from"),
    ],
)
def test_bad_input_is_told_before_any_work(
    shop: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    """One line that names the file, exit code 1."""
    done = aigq("train", "all", "--data", str(shop), "--out", str(tmp_path / "x"), *arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
