"""`aigq train grpo` refuses what cannot end well, in one line that names it."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from service.contracts.errors import AigqError
from service.ranking.ctr import CtrScorer
from workers.common.dataset import EVENTS, ITEMS, MANIFEST, PROFILES, SCHEMA_VERSION, Dataset
from workers.common.prompt import TAUGHT
from workers.common.reasons import Lesson, write_lessons
from workers.training.commands import app
from workers.training.grpo_commands import as_taught
from workers.training.recipe import Recipe


class _Scorer:
    class meta:  # noqa: N801  (an attribute of the real one)
        part = "judge"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a dataset of which nothing is read."""
    root = tmp_path / "data"
    (root / EVENTS).mkdir(parents=True)
    (root / MANIFEST).write_text(json.dumps({"schema": SCHEMA_VERSION}))
    for name in (ITEMS, PROFILES, f"{EVENTS}/part-00000.parquet"):
        (root / name).write_bytes(b"")
    return root


def _refusal(data: Path, start: Path, **options: str) -> str:
    arguments = ["grpo", "--data", str(data), "--start", str(start), "--ctr", str(start), "--out", str(start / "out")]
    for name, value in options.items():
        arguments += [f"--{name}", value]
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, AigqError)
    return str(done.exception)


def test_what_is_refused(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unknown recipes, a start that is no checkpoint or gives no reasons, a ranker that is none or judges."""
    assert "there is no such recipe" in _refusal(data, tmp_path, recipe="nowhere")
    assert f"{tmp_path}: is not a checkpoint" in _refusal(data, tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")
    lessons = tmp_path / "lessons.parquet"
    assert "set --triggers too" in _refusal(data, tmp_path, reasons=str(lessons))
    write_lessons(lessons, [Lesson("item:tent", "p<hints>", "why", ["lamp"], "wise")], Dataset(data).provenance())
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    refused = _refusal(data, tmp_path, reasons=str(lessons), triggers="0.5")
    assert f"{tmp_path}: was not taught reasons; train it with: aigq train sft --reasons" in refused
    assert "config.json: is not a checkpoint's" in _refusal(data, tmp_path)
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    assert "meta.json: missing; train it with: aigq train ctr" in _refusal(data, tmp_path)

    def judge(_: Path) -> Any:
        return _Scorer()

    monkeypatch.setattr(CtrScorer, "open", judge)
    assert "learned from the part 'judge', which judges" in _refusal(data, tmp_path)


@pytest.mark.parametrize("file", ["config.json", TAUGHT])
def test_prompts_are_those_that_the_start_was_taught_by(tmp_path: Path, file: str) -> None:
    """Not the recipe's: a model reads others' prompts badly, and would be served with its own."""
    recipe = Recipe.load("mini")
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    taught = {"aigq_candidates": recipe.data.candidates + 1, "aigq_plain": True}
    (tmp_path / file).write_text(json.dumps(taught), encoding="utf-8")
    found = as_taught(recipe, tmp_path)
    assert (found.data.candidates, found.data.plain) == (recipe.data.candidates + 1, True)
    assert found.model_copy(update={"data": recipe.data}) == recipe
