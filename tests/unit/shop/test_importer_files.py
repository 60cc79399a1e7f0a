"""Mapping files and what the readers make of damaged or unfitting files."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from service.contracts.errors import ArtefactError, ConfigError
from workers.common import dataset
from workers.shop.importer import events, readers, tables
from workers.shop.importer.mapping import EVENT_FIELDS, ITEM_FIELDS, PROFILE_FIELDS, Mapping, TableMapping
from workers.shop.importer.readers import read

ROOT = Path(__file__).parents[3]


def lines_of(path: Path, mapping: TableMapping | None = None) -> pl.DataFrame:
    """Return all lines of a log file."""
    return pl.concat([chunk.frame for chunk in read(path, mapping or TableMapping(), EVENT_FIELDS, lambda _: None)])


@pytest.mark.parametrize("path", sorted((ROOT / "configs/import").glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_mappings_are_sound(path: Path) -> None:
    """And carry the name of their file."""
    assert Mapping.load(path).name == path.stem


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[events.columns]\nuser = 'customer'", "user: no such field"),
        ("[events.types]\nview = 'look'", "look: not a type"),
        ("[events.time]\nzone = 'Mars/Olympus'", "no time zone"),
        ("[events.time]\nformat = 'seconds'", "must be auto"),
        ("[event]", "Extra inputs"),
        ("[events", "Expected"),
    ],
)
def test_a_wrong_mapping_is_refused_by_name(tmp_path: Path, content: str, message: str) -> None:
    """The message has the file and the key."""
    path = tmp_path / "shop.toml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=message) as caught:
        Mapping.load(path)
    assert str(path) in str(caught.value)


def test_fields_are_those_of_the_dataset() -> None:
    """Whatever is added to a dataset can be imported, and in the same order."""
    assert list(EVENT_FIELDS) == list(events.SCHEMA) == dataset.EVENT_SCHEMA.names
    assert list(ITEM_FIELDS) == list(tables.ITEM_SCHEMA) == dataset.ITEM_SCHEMA.names
    assert list(PROFILE_FIELDS) == list(tables.PROFILE_SCHEMA) == dataset.PROFILE_SCHEMA.names


def test_columns_are_joined_renamed_left_out_or_constant(tmp_path: Path) -> None:
    """Everything that a table's mapping can say."""
    path = tmp_path / "e.csv"
    path.write_text("who,first,second,price\n7,big,tent,cheap\n8,,tent,\n")
    mapping = TableMapping(
        columns={"user_id": "who", "query": ["first", "second"], "price": ""}, constants={"type": "search"}
    )
    frame = lines_of(path, mapping)
    assert frame.select("line", "user_id", "query", "price", "type").rows() == [
        (2, "7", "big tent", None, "search"),
        (3, "8", "tent", None, "search"),
    ]


def test_an_unclosed_quote_costs_one_line(tmp_path: Path) -> None:
    """And not the rest of the file, as it would if a quoted value could go on over lines."""
    path = tmp_path / "e.csv"
    path.write_text('user_id,query\nu1,"tent\nu2,"a ""b"", c"\nu3\n\nu4,x\n')
    frame = lines_of(path)
    assert frame["reason"].to_list() == ["broken_quotes", None, "column_count", "blank", None]
    assert frame["query"].to_list() == [None, 'a "b", c', None, None, "x"]


def test_a_monstrous_line_is_one_rejected_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is never in memory as a whole."""
    monkeypatch.setattr(readers, "MAX_LINE_BYTES", 20)
    path = tmp_path / "e.jsonl"
    path.write_bytes(b'{"user_id":"u1"}\n' + b"x" * 100 + b'\n{"user_id":"u2"}')
    frame = lines_of(path)
    assert frame["reason"].to_list() == [None, "line_too_long", None]
    assert frame["line"].to_list() == [1, 2, 3]


def test_chunks_go_on_counting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Line numbers, and bytes for the progress bar, run through the file; in Parquet too."""
    monkeypatch.setattr(readers, "LINES_PER_CHUNK", 3)
    frame = pl.DataFrame({"user_id": [f"u{number}" for number in range(8)]})
    frame.write_ndjson(tmp_path / "e.jsonl")
    frame.write_parquet(tmp_path / "e.parquet")
    for name in ("e.jsonl", "e.parquet"):
        heard: list[int] = []
        chunks = list(read(tmp_path / name, TableMapping(), EVENT_FIELDS, heard.append))
        assert [chunk.frame.height for chunk in chunks] == [3, 3, 2]
        assert pl.concat([chunk.frame for chunk in chunks])["line"].to_list() == list(range(1, 9))
        assert sum(heard) == (tmp_path / name).stat().st_size
        assert '"u7"' in chunks[2].raw(1)


def _damaged(folder: Path, name: str) -> Path:
    path = folder / name
    content: dict[str, Any] = {
        "a.jsonl.gz": b"\x1f\x8b broken",
        "a.parquet": b"PAR1 broken",
        "a.csv": b"a,a\n1,2",
        "b.csv": b"\xff\xfe\n",
        "empty.csv": b"",
        "a.xlsx": b"",
    }
    if name in content:
        path.write_bytes(content[name])
    return path


@pytest.mark.parametrize("name", ["absent.jsonl", "a.jsonl.gz", "a.parquet", "a.csv", "b.csv", "empty.csv", "a.xlsx"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    """One line with its path, not a traceback."""
    path = _damaged(tmp_path, name)
    with pytest.raises(ArtefactError, match=name):
        lines_of(path)


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Before a million lines are rejected for it."""
    pl.DataFrame({"customer": ["u1"]}).write_csv(tmp_path / "e.csv")
    pl.DataFrame({"customer": ["u1"]}).write_parquet(tmp_path / "e.parquet")
    for name in ("e.csv", "e.parquet"):
        with pytest.raises(ConfigError, match=r"has no column client.*has customer"):
            lines_of(tmp_path / name, TableMapping(columns={"user_id": "client"}))
    with pytest.raises(ConfigError, match="has none of the fields"):
        lines_of(tmp_path / "e.parquet")
