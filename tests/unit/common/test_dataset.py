"""What the dataset layout promises."""

from pathlib import Path

import pyarrow as pa
import pytest

from service.contracts.errors import ArtefactError
from workers.common.dataset import EVENT_SCHEMA, ITEM_SCHEMA, ITEMS, PROFILE_SCHEMA, PROFILES, Dataset, DatasetWriter
from workers.training.sessions import histories


def _events(*users: str) -> pa.Table:
    rows = [{"user_id": user, "ts": float(n), "type": "search", "query": f"q{n}"} for n, user in enumerate(users)]
    return pa.Table.from_pylist(rows, schema=EVENT_SCHEMA)


def _fill(writer: DatasetWriter) -> None:
    writer.write(ITEMS, ITEM_SCHEMA.empty_table())
    writer.write(PROFILES, PROFILE_SCHEMA.empty_table())
    writer.write_events(0, _events("a", "a", "b"))
    writer.write_events(0, _events("b", "c"))
    writer.write_events(1, _events("d"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A complete dataset."""
    with DatasetWriter(tmp_path / "data") as writer:
        _fill(writer)
        writer.close({"source": "test"})
    return tmp_path / "data"


def test_what_is_written_is_read(root: Path) -> None:
    """Manifest, events, items and profiles come back."""
    dataset = Dataset(root)
    assert dataset.manifest["events"] == dataset.scan_events().collect().height == 6
    assert dataset.items().columns == ITEM_SCHEMA.names
    assert dataset.profiles().columns == PROFILE_SCHEMA.names


def test_an_empty_profile_field_says_nothing_anywhere(tmp_path: Path) -> None:
    """Neither to prompts, nor to what is learned, nor to what is popular with whom."""
    profiles = [{"user_id": "a", "segment": "", "region": "south", "consent": True}, {"user_id": "b", "segment": None}]
    with DatasetWriter(tmp_path / "data") as writer:
        _fill(writer)
        writer.write(PROFILES, pa.Table.from_pylist(profiles, schema=PROFILE_SCHEMA))
        writer.close({"source": "test"})
    dataset = Dataset(tmp_path / "data")
    told = {"a": {"region": "south"}, "b": {}}
    assert dataset.profile_texts() == told
    assert {one.user_id: one.profile for one in histories(dataset.scan_events().collect(), dataset)} == {
        **told,
        "c": {},
        "d": {},
    }
    assert dataset.profiles()["segment"].to_list() == [None, None]


def test_shoppers_come_whole(root: Path) -> None:
    """A shopper whose events span row groups is yielded once, with the columns asked for."""
    found = [(user, frame.height) for user, frame in Dataset(root).shoppers(["query"])]
    assert found == [("a", 2), ("b", 2), ("c", 1), ("d", 1)]
    assert next(Dataset(root).shoppers(["query"]))[1].columns == ["user_id", "query"]


def test_a_broken_run_leaves_nothing(tmp_path: Path) -> None:
    """A dataset appears complete or not at all."""

    def interrupted() -> None:
        with DatasetWriter(tmp_path / "data") as writer:
            _fill(writer)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten_by_chance(root: Path, tmp_path: Path) -> None:
    """An existing dataset needs `overwrite`; a directory that is no dataset is never replaced."""
    with pytest.raises(ArtefactError, match="exists already"):
        DatasetWriter(root)
    DatasetWriter(root, overwrite=True)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("dear", encoding="utf-8")
    with pytest.raises(ArtefactError, match="not a dataset"):
        DatasetWriter(tmp_path / "home", overwrite=True)


@pytest.mark.parametrize("name", ["manifest.json", "items.parquet", "profiles.parquet"])
def test_a_missing_file_is_named(root: Path, name: str) -> None:
    """The error names the file and the fix."""
    (root / name).unlink()
    with pytest.raises(ArtefactError, match=f"{name}: missing; .*aigq"):
        Dataset(root)


def test_no_events_is_an_error(root: Path) -> None:
    """A dataset without parts is refused."""
    for part in (root / "events").iterdir():
        part.unlink()
    with pytest.raises(ArtefactError, match="has no part"):
        Dataset(root)


@pytest.mark.parametrize(
    ("content", "said"), [("{", "not JSON"), ('{"schema": 99}', "schema version 99"), ("[]", "None")]
)
def test_a_foreign_manifest_is_refused(root: Path, content: str, said: str) -> None:
    """Broken JSON and other schema versions are told apart."""
    (root / "manifest.json").write_text(content, encoding="utf-8")
    with pytest.raises(ArtefactError, match=said):
        Dataset(root)
