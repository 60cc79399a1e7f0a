"""Parts on disk: whole or not there, and the newest says where to go on."""

from pathlib import Path

import polars as pl
import pytest

from service.contracts.errors import ArtefactError
from workers.sink.parts import PartStore, problem

ROW = {"user_id": "u1", "ts": 1.5, "type": "search", "query": "tent", "event_id": "e1"}


def test_rows_and_offsets_appear_together(tmp_path: Path) -> None:
    """Offsets of all partitions are in each part, so the newest is enough."""
    store = PartStore(tmp_path)
    assert store.offsets == {}
    assert store.write([ROW], {0: "5-0", 3: "7-1"}) > 0
    store.write([{**ROW, "event_id": "e2", "queries": None, "unheard": 1}], {3: "9-0"})
    again = PartStore(tmp_path)
    assert again.offsets == {0: "5-0", 3: "9-0"}
    (folder,) = tmp_path.glob("dt=*")
    assert [path.name for path in sorted(folder.iterdir())] == ["part-00000001.parquet", "part-00000002.parquet"]
    assert pl.read_parquet(folder / "*.parquet")["event_id"].to_list() == ["e1", "e2"]
    assert again.latest_event_ids(10) == [("u1", "e1"), ("u1", "e2")]
    assert again.latest_event_ids(1) == [("u1", "e2")]


def test_the_newest_part_is_by_number_not_by_day(tmp_path: Path) -> None:
    """A clock that was set back does not make an old part the newest."""
    store = PartStore(tmp_path)
    store.write([ROW], {0: "5-0"})
    store.write([ROW], {0: "6-0"})
    (folder,) = tmp_path.glob("dt=*")
    (tmp_path / "dt=2099-01-01").mkdir()
    (folder / "part-00000001.parquet").rename(tmp_path / "dt=2099-01-01" / "part-00000001.parquet")
    assert PartStore(tmp_path).offsets == {0: "6-0"}


def test_a_failed_write_commits_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk: no part, no half part, the same offsets; the next attempt takes the same number."""
    store = PartStore(tmp_path)
    store.write([ROW], {0: "5-0"})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr("workers.sink.parts._sync", full)
        with pytest.raises(OSError, match="No space"):
            store.write([ROW], {0: "6-0"})
    assert store.offsets == {0: "5-0"}
    assert len(list(tmp_path.glob("dt=*/*"))) == 1
    store.write([ROW], {0: "6-0"})
    assert PartStore(tmp_path).offsets == {0: "6-0"}


def test_what_a_kill_left_is_removed(tmp_path: Path) -> None:
    """It was never confirmed, so it comes again."""
    store = PartStore(tmp_path)
    store.write([ROW], {0: "5-0"})
    (folder,) = tmp_path.glob("dt=*")
    (folder / ".part-00000002.parquet").write_bytes(b"PAR1 half")
    assert PartStore(tmp_path).offsets == {0: "5-0"}
    assert len(list(folder.iterdir())) == 1


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


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (ROW, None),
        ({**ROW, "type": "hint_served", "queries": ["a", "b"], "propensity": [1.0, 0.5]}, None),
        ([], "not_an_object"),
        ("text", "not_an_object"),
        ({"user_id": "u"}, "field_missing"),
        ({**ROW, "ts": None}, "field_missing"),
        ({**ROW, "ts": "yesterday"}, "field_type"),
        ({**ROW, "position": 1 << 40}, "field_type"),
        ({**ROW, "queries": "tent"}, "field_type"),
        ({**ROW, "ts": 1 << 60}, "field_type"),
        ({**ROW, "scores": [1 << 60]}, "field_type"),
        ({**ROW, "query": {"a": 1}}, "field_type"),
    ],
)
def test_what_is_no_log_line(row: object, expected: str | None) -> None:
    """A label for each reason, so that it can be counted."""
    assert problem(row) == expected
