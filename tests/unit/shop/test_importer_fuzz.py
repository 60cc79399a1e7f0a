"""Whatever a file holds, the import goes on, accounts for every line, and finds its own output good."""

from collections import Counter
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import orjson
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings

from tests.importing import EVENTS, START, files_of, imported, write
from workers.common.dataset import Dataset
from workers.shop.importer import readers
from workers.shop.importer.mapping import EVENT_FIELDS, ITEM_FIELDS, TYPES
from workers.shop.importer.tally import IGNORED

MAX_LINE_BYTES = 1_000
"""Instead of a megabyte, so that lines that are too long are cheap."""

SOUND = st.sampled_from([orjson.dumps(line) for line in EVENTS])
MONSTERS = st.sampled_from(
    [
        b"",
        b"\x00",
        b"\xff\xfe{\x00}\x00",
        b'{"user_id":"\xff"}',
        b'{"user_id":"u1","ts":1,"type":"search","query":"\xed\xa0\x80"}',
        b'{"user_id":"u1","ts":1,"type":"search","query":"a\\u0000b"}',
        b'{"user_id":"u1\\u0000","ts":1,"type":"search","query":"tent"}',
        b'{"user_id":1e400,"ts":-0.0,"type":"search","query":"tent"}',
        b'{"user_id":340282366920938463463374607431768211456,"ts":1,"type":"search","query":"tent"}',
        b'{"ts":' + b"9" * 400 + b"}",
        b'{"user_id":"' + b"u" * 2 * MAX_LINE_BYTES + b'"}',
        b'"' + b"," * MAX_LINE_BYTES,
        b"[" * 900,
        b"[" * 300 + b"]" * 300,
        b'{"user_id":"u1","ts":1,"type":"hint_served","request_id":"r","queries":' + b"[" * 300 + b"]" * 300 + b"}",
        b'{"user_id":"u1","ts":1,"type":"hint_served","request_id":"r","queries":[],"scores":[1]}',
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.dictionaries(st.sampled_from(sorted(EVENT_FIELDS)), JSON | st.sampled_from([*TYPES, "u1", START]))
OBJECTS = st.builds(lambda line, noise: line | noise, st.sampled_from([{}, *EVENTS]), FIELDS)


def _json(value: object) -> bytes:
    """Return JSON, of text that no file in UTF-8 can hold the broken bytes."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return repr(value).encode("utf-8", "surrogatepass")


JSON_LINES = SOUND | MONSTERS | st.binary(max_size=60) | JSON.map(_json) | OBJECTS.map(_json)
CELLS = st.text(max_size=10) | st.sampled_from(["u1", "search", "tent", str(START), 'a"b', '"', "a,b", "\r", "\x00"])
CSV_LINES = (
    MONSTERS
    | st.binary(max_size=40)
    | st.lists(CELLS, max_size=6).map(lambda cells: ",".join(cells).encode("utf-8", "replace"))
)


def _account_for(folder: Path, name: str, content: bytes, lines: int) -> None:
    """Import `content` and compare every count there is."""
    (folder / name).write_bytes(content)
    report = imported(folder, folder / name, max_rejects=1, overwrite=True)
    tally = report.tallies[2]
    rejects = folder / "out-rejects.jsonl"
    aside = map(orjson.loads, rejects.read_bytes().splitlines() if rejects.exists() else ())
    assert tally.lines == lines
    assert tally.lines == tally.accepted + tally.duplicates + sum(tally.rejected.values())
    assert Dataset(folder / "out").scan_events().collect().height == tally.accepted
    assert set(tally.first) == set(+tally.rejected)
    assert Counter(entry["reason"] for entry in aside) == Counter(
        {reason: count for reason, count in tally.rejected.items() if reason != IGNORED}
    )


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(JSON_LINES, max_size=12), rows=st.lists(CSV_LINES, max_size=12), end=st.sampled_from([b"\n", b""])
)
def test_no_line_vanishes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: list[bytes], rows: list[bytes], end: bytes
) -> None:
    """lines_in == accepted + rejected + duplicates, by reason, for any bytes at all; newlines say what a line is."""
    monkeypatch.setattr(readers, "MAX_LINE_BYTES", MAX_LINE_BYTES)
    monkeypatch.setattr(readers, "LINES_PER_CHUNK", 7)
    for name, head, body in (
        ("e.jsonl", b"", [*map(orjson.dumps, EVENTS), *lines]),
        ("e.csv", b"user_id,ts,type,query\n", [f"u1,{START},search,tent".encode(), *rows]),
    ):
        content = b"\n".join(body) + end
        unended = not content.endswith(b"\n")
        _account_for(tmp_path, name, head + content, content.count(b"\n") + unended)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_catalogue_line_vanishes(tmp_path: Path, data: st.DataObject) -> None:
    """Nor does one crash the import: nested maps, odd types, broken text."""
    fields = st.dictionaries(st.sampled_from(sorted(ITEM_FIELDS)), JSON | st.just("x"))
    lines = data.draw(st.lists(MONSTERS | fields.map(_json), max_size=8))
    deep = b'{"item_id":"i1","title":"t","attributes":' + b'{"a":' * 300 + b"1" + b"}" * 300 + b"}"
    path = tmp_path / "i.jsonl"
    path.write_bytes(b"\n".join([b'{"item_id":"i0","title":"t"}', deep, *lines]) + b"\n")
    tally = imported(tmp_path, EVENTS, items=[path], max_rejects=1, overwrite=True).tallies[0]
    assert tally.lines == 2 + len(b"\n".join([b"", *lines]).split(b"\n")) - 1
    assert tally.balanced()
    assert tally.rejected["wrong_type"] >= 1


TEXTS = st.text(min_size=1, max_size=12)
NUMBERS = st.floats(0, 1e9)
EVENTS_OF_ANY_KIND = st.fixed_dictionaries(
    {
        "user_id": st.sampled_from(["u1", "u2", "ü3", "4"]),
        "ts": st.integers(0, 10).map(lambda second: START + second / 7),
        "type": st.sampled_from(TYPES),
        "query": TEXTS,
        "item_id": st.sampled_from(["i1", "i2", "i9"]),
        "request_id": st.just("r1"),
        "position": st.integers(0, 99),
        "queries": st.lists(TEXTS, max_size=3),
    },
    optional={
        "event_id": st.sampled_from(["e1", "e2", "e3"]),
        "price": NUMBERS,
        "quantity": st.integers(1, 1_000_000),
        "policy": st.just("p"),
        "epsilon": st.floats(0, 1),
    },
)
ITEMS_OF_ANY_KIND = st.fixed_dictionaries(
    {"item_id": st.sampled_from(["i1", "i2", "3"]), "title": TEXTS},
    optional={
        "category": st.text(alphabet="ab> é", max_size=9),
        "price": NUMBERS,
        "attributes": st.dictionaries(TEXTS, JSON, max_size=3),
    },
)


def _writable(lines: list[dict[str, Any]]) -> bool:
    try:
        orjson.dumps(lines)
    except orjson.JSONEncodeError:  # a lone surrogate
        return False
    return True


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(EVENTS_OF_ANY_KIND, max_size=12).filter(_writable),
    items=st.lists(ITEMS_OF_ANY_KIND, max_size=4).filter(_writable),
)
def test_importing_the_output_again_changes_nothing(
    tmp_path: Path, lines: list[dict[str, Any]], items: list[dict[str, Any]]
) -> None:
    """Idempotence, byte by byte, and without a rejected line or a duplicate the second time."""
    catalogue = write(tmp_path, "i.jsonl", [{"item_id": "i0", "title": "t"}, *items])
    people = write(tmp_path, "p.jsonl", [{"user_id": "u1", "segment": " gold\t", "consent": "No"}])
    imported(tmp_path, [*EVENTS, *lines], items=[catalogue], profiles=[people], max_rejects=1, overwrite=True)
    first = tmp_path / "out"
    again = tmp_path / "again"
    again.mkdir(exist_ok=True)
    report = imported(
        again,
        next((first / "events").iterdir()),
        items=[first / "items.parquet"],
        profiles=[first / "profiles.parquet"],
        max_rejects=0,
        overwrite=True,
    )
    assert files_of(again / "out") == files_of(first)
    assert [tally.lines for tally in report.tallies] == [tally.accepted for tally in report.tallies]


def test_times_that_nobody_can_hold_are_rejected_lines(tmp_path: Path) -> None:
    """Parquet's timestamps reach further than any calendar; nanoseconds are read, and rounded to microseconds."""
    frame = pl.DataFrame({"user_id": ["u1"] * 3, "type": ["search"] * 3, "query": ["tent"] * 3})
    for kind, moments in (("ms", [1_000, 10**18, -1]), ("ns", [1_000_000_001, 2**62, -1])):
        stamps = pl.Series("ts", moments, dtype=pl.Int64).cast(pl.Datetime(kind))  # type: ignore[arg-type]
        path = tmp_path / f"{kind}.parquet"
        frame.with_columns(stamps).write_parquet(path)
        report = imported(tmp_path, path, max_rejects=1, overwrite=True)
        assert report.tallies[2].accepted == 1
        assert report.tallies[2].rejected.total() == 2
        assert Dataset(tmp_path / "out").scan_events().collect()["ts"].to_list() == [1.0]
