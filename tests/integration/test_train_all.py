"""`aigq train all`, at toy size: any dataset goes down the whole road, and a kill at any point costs little."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from service.ranking.ctr import CtrScorer
from service.ranking.next_search import NextSearch
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


KILLS: dict[str, Callable[[Path], bool]] = {
    "the CTR ranker": lambda at: any(at.glob(".toy-ctr-*")) or (at / "toy-ctr").exists(),
    "the ranker of next searches": lambda at: (at / "toy-judge").exists(),
    "lists": lambda at: any((at / "toy.work").glob("checkpoint-*")),
    "the swap": lambda at: (at / ".toy.staging").exists(),
}
"""What is there when a stage has something to lose. Histories are resumed by the same code as lists."""


def kill_when(reached: Callable[[], bool], road: Sequence[str]) -> None:
    """Begin the road, and kill it, with what it started, as soon as it is so far."""
    process = subprocess.Popen(
        command(*road), cwd=ROOT, env=clean_environment(), start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        eventually(lambda: reached() or process.poll() is not None, patience_s=200)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


@pytest.fixture(scope="module")
def toy(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Sequence[str], dict[str, Any]]:
    """Return a model that was killed at each stage and went on, the command that made it, and what that said."""
    folder = tmp_path_factory.mktemp("toy")
    out = folder / "toy"
    road = ("train", "all", "--data", str(shop), "--recipe", "smoke", "--out", str(out))
    kept: dict[str, int] = {}
    for stage, reached in KILLS.items():
        kill_when(partial(reached, folder), road)
        assert not out.exists(), stage
        for ranker in ("toy-ctr", "toy-judge"):
            if (folder / ranker).exists():
                CtrScorer.open(folder / ranker)  # what has its name is whole
                kept.setdefault(ranker, (folder / ranker / "meta.json").stat().st_mtime_ns)
        if (folder / "toy-ranker").exists():
            NextSearch.open(folder / "toy-ranker")
    found = figures(aigq(*road))
    assert kept == {ranker: (folder / ranker / "meta.json").stat().st_mtime_ns for ranker in ("toy-ctr", "toy-judge")}
    return out, road, found


def test_the_whole_road_is_resumed_after_each_kill(toy: tuple[Path, Sequence[str], dict[str, Any]]) -> None:
    """What was done before a kill stays, loss falls, nothing half-made is named, and what is done is not done again."""
    out, road, found = toy
    assert (found["model"], found["ctr"], found["judge"]) == (str(out), f"{out}-ctr", f"{out}-judge")
    stages = ["ctr", "judge", "ranker", "samples", "histories", "lists"]
    assert list(found["seconds"]) == stages
    assert all(found["seconds"].values())
    card = (out / "README.md").read_text(encoding="utf-8")
    assert all(f"seconds of {stage}: " in card for stage in stages)
    for stage in ("toy.lm.work", "toy.work"):
        measured = losses(out.with_name(stage))
        assert measured[-1] < 0.95 * measured[0], stage

    again = figures(aigq(*road))
    assert {**again, "seconds": 0} == {**found, "seconds": 0}, "nothing was left to train"
    for stage in ("ctr", "judge", "histories", "lists"):
        assert again["seconds"][stage] == found["seconds"][stage]


def test_rewards_rise(
    shop: Path, toy: tuple[Path, Sequence[str], dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    """IL-GRPO on the road's model, rewarded by its CTR ranker, for shoppers and triggers: lists become worth more."""
    out, _, made = toy
    better = out.with_name("better")
    began = time.perf_counter()
    found = figures(
        aigq(
            "train", "grpo", "--data", str(shop), "--recipe", "smoke", "--triggers", "0.25",
            "--start", str(out), "--ctr", made["ctr"], "--out", str(better),
        )
    )  # fmt: skip
    elapsed = time.perf_counter() - began
    lines = [json.loads(line) for line in (out.with_name("better.work") / "loss.jsonl").read_text().splitlines()]
    rewards = [line["reward"] for line in lines if "reward" in line]  # of steps for which lists were drawn anew
    third = len(rewards) // 3
    first, last = sum(rewards[:third]) / third, sum(rewards[-third:]) / third
    with capsys.disabled():
        sys.stdout.write(f" {found['lists']:.0f} lists in {elapsed:.0f} s, reward {first:.2f} to {last:.2f} ")
    assert last > first
    assert elapsed < 120
    assert "(IL-GRPO)" in (better / "README.md").read_text(encoding="utf-8")


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
            "configs/train/nosuch.toml: there is no such recipe; known: mini, mini-plain, mini-think, qwen3-0.6b",
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
