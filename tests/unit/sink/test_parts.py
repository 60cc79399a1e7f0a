"""Parts on disk: whole or not there, and the newest says where to go on."""

from pathlib import Path

import polars as pl
import pytest

from service.contracts.errors import ArtefactError, ConfigError
from workers.sink.parts import PartStore

ROW = {"user_id": "u1", "ts": 1.5, "type": "search", "query": "tent", "event_id": "e1"}


def test_rows_and_offsets_appear_together(tmp_path: Path) -> None:
    """Offsets of all streams are in each part, so the newest is enough."""
    with PartStore(tmp_path) as store:
        assert store.offsets == {}
        assert store.write([ROW], {"a": "5-0", "b": "7-1"}) > 0
        store.write([{**ROW, "event_id": "e2", "queries": None, "unheard": 1}], {"b": "9-0"})
    with PartStore(tmp_path) as again:
        assert again.offsets == {"a": "5-0", "b": "9-0"}
        assert again.latest(10) == [("u1", "e1"), ("u1", "e2")]
        assert again.latest(1) == [("u1", "e2")]
        again.forget(["b"])
        assert again.offsets == {"a": "5-0"}
    (folder,) = tmp_path.glob("dt=*")
    assert [path.name for path in sorted(folder.iterdir())] == ["part-00000001.parquet", "part-00000002.parquet"]
    assert pl.read_parquet(folder / "*.parquet")["event_id"].to_list() == ["e1", "e2"]


def test_the_newest_part_is_by_number_not_by_day(tmp_path: Path) -> None:
    """A clock that was set back does not make an old part the newest."""
    with PartStore(tmp_path) as store:
        store.write([ROW], {"a": "5-0"})
        store.write([ROW], {"a": "6-0"})
    (folder,) = tmp_path.glob("dt=*")
    (tmp_path / "dt=2099-01-01").mkdir()
    (folder / "part-00000001.parquet").rename(tmp_path / "dt=2099-01-01" / "part-00000001.parquet")
    with PartStore(tmp_path) as again:
        assert again.offsets == {"a": "6-0"}


@pytest.mark.parametrize("call", [1, 2])
def test_a_failed_write_commits_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    """Before the rename or after it: no part, no half part, the same offsets; the next try takes the same number."""
    calls = 0

    def full(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            raise OSError(28, "No space left on device")

    with PartStore(tmp_path) as store:
        store.write([ROW], {"a": "5-0"})
        with monkeypatch.context() as broken:
            broken.setattr("workers.sink.parts._sync", full)
            with pytest.raises(OSError, match="No space"):
                store.write([ROW], {"a": "6-0"})
        assert store.offsets == {"a": "5-0"}
        assert len(list(tmp_path.glob("dt=*/*"))) == 1
        store.write([ROW], {"a": "6-0"})
    with PartStore(tmp_path) as again:
        assert again.offsets == {"a": "6-0"}


def test_what_a_kill_left_is_removed(tmp_path: Path) -> None:
    """It was never confirmed, so it comes again."""
    with PartStore(tmp_path) as store:
        store.write([ROW], {"a": "5-0"})
    (folder,) = tmp_path.glob("dt=*")
    (folder / ".staging-00000002").write_bytes(b"PAR1 half")
    with PartStore(tmp_path) as again:
        assert again.offsets == {"a": "5-0"}
    assert len(list(folder.iterdir())) == 1


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    """A second one is refused until the first is gone, even where the lease in Redis ran out."""
    with PartStore(tmp_path), pytest.raises(ConfigError, match="another sink writes to"):
        PartStore(tmp_path)
    PartStore(tmp_path).close()


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    """Offsets that nobody wrote cannot be guessed; the message names the file."""
    (tmp_path / "dt=2026-01-01").mkdir()
    path = tmp_path / "dt=2026-01-01" / "part-00000004.parquet"
    pl.DataFrame({"a": [1]}).write_parquet(path)
    with pytest.raises(ArtefactError, match=r"part-00000004\.parquet: is not a part of a sink"):
        PartStore(tmp_path)
    path.write_bytes(b"nonsense")
    with pytest.raises(ArtefactError, match=r"part-00000004\.parquet: is not a part of a sink"):
        PartStore(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtefactError, match="cannot be written"):
        PartStore(tmp_path / "file")
