"""A ranker's directory: a full disk is told before it is written, and a kill leaves nothing for ever."""

import os
import shutil
import time
import uuid
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


def test_what_a_kill_left_goes_with_the_next_write(tmp_path: Path) -> None:
    """Of this name alone, and not what another process may still be writing."""

    def left(name: str, *, now: bool = False, file_now: bool = False) -> str:
        folder = tmp_path / name.format(uuid.uuid4().hex)
        folder.mkdir()
        file = folder / "model.txt"
        file.write_bytes(b"half")
        long_ago = time.time() - 2 * 86_400
        for path, fresh in ((file, file_now), (folder, now)):
            os.utime(path, None if fresh else (long_ago, long_ago))
        return folder.name

    for form in (".ranker-{}", ".ranker-{}.old", ".ranker-{}-old"):
        left(form)
    kept = [
        left(".ranker-{}", now=True),
        left(".ranker-{}", file_now=True),
        left(".ranker-2-{}"),
        left(".ranker-of-mine"),
    ]
    model_folder.write(tmp_path / "ranker", {}, {"model.txt": b"whole"}, {})
    assert {path.name for path in tmp_path.iterdir()} == {"ranker", *kept}
