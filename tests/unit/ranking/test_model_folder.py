"""A ranker's directory: a full disk is told before it is written."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from service.contracts.errors import ArtefactError
from service.ranking import model_folder


def test_a_full_disk_is_told_and_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path, what is needed and what is free, in MB; no half-written directory beside it."""
    folder = tmp_path / "new" / "ranker"
    model_folder.write(folder, {"made": 1}, {"model.txt": b"old"}, {})
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=3_000_000))
    with pytest.raises(ArtefactError, match=f"{folder}: needs 4 MB, and 3 MB are free on that disk; make room"):
        model_folder.write(folder, {"made": 2}, {"model.txt": bytes(3_500_000)}, {"plot.png": bytes(500_000)})
    assert [path.name for path in folder.parent.iterdir()] == ["ranker"]
    assert model_folder.read(folder, ["model.txt"], "") == ({"made": 1}, {"model.txt": b"old"})
    model_folder.write(folder, {"made": 2}, {"model.txt": bytes(2_500_000)}, {})
