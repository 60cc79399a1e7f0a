"""The whole import: files in several formats become one dataset, and every line is accounted for."""

import gzip
from datetime import UTC, datetime
from pathlib import Path

import orjson
import polars as pl
import pytest

from service.contracts.errors import ArtefactError, ConfigError
from tests.importing import DAY, EVENTS, ITEMS, NOW, START, imported, write
from workers.common.dataset import EVENT_SCHEMA, Dataset
from workers.shop.importer import output
from workers.shop.importer.mapping import Mapping
from workers.shop.importer.pipeline import Request, run
from workers.shop.importer.pseudonyms import Pseudonyms
from workers.shop.importer.tally import IGNORED


def users_and_times(dataset: Dataset) -> list[tuple[str, float]]:
    """Return what events are sorted by."""
    return dataset.scan_events().select("user_id", "ts").collect().rows()


def test_an_import_is_a_dataset(tmp_path: Path) -> None:
    """Shopper by shopper, sorted by time, in the dataset's schema, with a manifest that says from when to when."""
    report = imported(tmp_path, EVENTS, profiles=[write(tmp_path, "p.jsonl", [{"user_id": "u1", "consent": "no"}])])
    dataset = Dataset(tmp_path / "out")
    assert dataset.manifest == {"schema": 1, **report.manifests[tmp_path / "out"]}
    assert all(rows["ts"].is_sorted() for _, rows in dataset.shoppers())
    assert sorted(user for user, _ in dataset.shoppers()) == ["u1", "u2"]
    assert dict(dataset.scan_events().collect_schema()) == dict(pl.DataFrame(EVENT_SCHEMA.empty_table()).schema)
    assert dataset.items()["category"].to_list() == ["Outdoor > Tents", "Outdoor > Stoves"]
    assert dataset.items()["attributes"].to_list() == ['{"b":1}', None]
    assert dataset.profiles()["consent"].to_list() == [False]
    assert dataset.manifest["from"] == "2026-11-13T00:00:01+00:00"
    assert dataset.manifest["to"] == "2026-11-18T00:00:01+00:00"
    assert dataset.manifest["shoppers"] == 2
    assert dataset.manifest["item_events_in_catalogue"] == pytest.approx(2 / 3, abs=1e-4)


def test_the_same_files_give_the_same_dataset(tmp_path: Path) -> None:
    """Byte by byte."""
    made = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        imported(tmp_path / name, EVENTS)
        out = tmp_path / name / "out"
        made.append({path.relative_to(out): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()})
    assert made[0] == made[1]


def test_formats_are_the_same_to_it(tmp_path: Path) -> None:
    """JSON lines, packed JSON lines, CSV with a byte order mark, tabs and Parquet give the same events."""
    frame = pl.DataFrame(EVENTS, infer_schema_length=None)
    found = {}
    for name in ("e.jsonl", "e.jsonl.gz", "e.csv", "e.tsv", "e.parquet"):
        folder = tmp_path / name
        folder.mkdir()
        path = folder / name
        if name.endswith(".parquet"):
            frame.with_columns(pl.from_epoch(pl.col("ts") * 1e9, time_unit="ns")).write_parquet(path)
        elif "jsonl" in name:
            lines = b"\r\n".join(map(orjson.dumps, EVENTS))
            path.write_bytes(gzip.compress(lines) if name.endswith(".gz") else lines)
        else:
            separator = "\t" if name.endswith(".tsv") else ","
            path.write_bytes(b"\xef\xbb\xbf" + frame.write_csv(separator=separator).encode())
        imported(folder, path)
        found[name] = Dataset(folder / "out").scan_events().collect()
    assert all(events.equals(found["e.jsonl"]) for events in found.values())
    assert found["e.jsonl"].height == len(EVENTS)


def test_a_second_event_with_an_id_is_a_duplicate(tmp_path: Path) -> None:
    """The first stays; two shoppers may have the same id; events without an id are never duplicates."""
    anonymous = {"user_id": "u1", "ts": START, "type": "search", "query": "rope"}
    report = imported(tmp_path, [*EVENTS, {**EVENTS[2], "query": "late"}, anonymous, anonymous])
    assert report.tallies[2].duplicates == 1
    queries = Dataset(tmp_path / "out").scan_events().collect()["query"].drop_nulls().to_list()
    assert sorted(queries) == ["Tent", "rope", "rope", "stove"]


def test_rejects_are_counted_explained_and_set_aside(tmp_path: Path) -> None:
    """Reason, first line's number and text; the file of rejects has them all, but not what the mapping ignores."""
    path = tmp_path / "e.jsonl"
    bad = [b"{", b"", b"[1]", b'{"type":"ping"}', orjson.dumps({**EVENTS[0], "ts": "?"}), b"\xff\x1b[2J"]
    path.write_bytes(b"\n".join([*map(orjson.dumps, EVENTS), *bad]))
    mapping = Mapping.model_validate({"events": {"types": {"ping": "ignore"}}})
    report = imported(tmp_path, path, mapping=mapping, max_rejects=0.9)
    tally = report.tallies[2]
    assert dict(tally.rejected) == {"not_json": 2, "blank": 1, "not_an_object": 1, IGNORED: 1, "ts_invalid": 1}
    assert tally.balanced()
    assert tally.share == 5 / 10
    assert any("2 not_json" in line and line.endswith("first at e.jsonl:6: {") for line in tally.explain())
    aside = [orjson.loads(line) for line in (tmp_path / "out-rejects.jsonl").read_bytes().splitlines()]
    assert [entry["line"] for entry in aside] == [6, 7, 8, 10, 11]
    assert aside[0] == {"table": "events", "file": "e.jsonl", "line": 6, "reason": "not_json", "text": "{"}
    assert "\x1b" not in "".join(tally.explain())


def test_too_many_rejects_fail_the_import(tmp_path: Path) -> None:
    """Nothing is written but the rejects; the message has the reasons. A good import then clears them away."""
    with pytest.raises(ArtefactError, match=r"(?s)16\.7% of the events rejected.*1 type_unknown.*events\.jsonl:6"):
        imported(tmp_path, [*EVENTS, {**EVENTS[0], "type": "nonsense"}], max_rejects=0.1)
    assert {path.name for path in tmp_path.iterdir()} == {"events.jsonl", "items.jsonl", "out-rejects.jsonl"}
    imported(tmp_path, EVENTS)
    assert not (tmp_path / "out-rejects.jsonl").exists()


@pytest.mark.parametrize("when", ["reading", "sorting"])
def test_an_interrupted_import_leaves_nothing(tmp_path: Path, when: str) -> None:
    """Neither a dataset nor the files on the way to one; and an old dataset stays."""
    imported(tmp_path, EVENTS)
    before = sorted(path.name for path in tmp_path.rglob("*"))

    def interrupt(stage: str, done: int, total: int) -> None:
        del done, total
        if stage == when:
            raise KeyboardInterrupt

    request = Request(
        events=[tmp_path / "events.jsonl"],
        items=[tmp_path / "items.jsonl"],
        out=tmp_path / "out",
        mapping=Mapping(),
        now=NOW,
        overwrite=True,
    )
    with pytest.raises(KeyboardInterrupt):
        run(request, interrupt)
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_pseudonyms_hide_who_but_not_that_it_is_the_same(tmp_path: Path) -> None:
    """No id of a shopper, session or order is left, in the rejects neither; profiles still match."""
    lines = [*EVENTS, {"user_id": "u1", "ts": "?", "type": "search", "query": "tent"}]
    people = write(tmp_path, "p.jsonl", [{"user_id": "u1", "segment": "gold"}])
    pseudonyms = Pseudonyms(b"k" * 16)
    report = imported(tmp_path, lines, profiles=[people], pseudonyms=pseudonyms, max_rejects=0.5)
    dataset = Dataset(tmp_path / "out")
    events = dataset.scan_events().collect()
    plain = {"u1", "u2", "u1-7", "e1", "e2", "e3", "e5"}
    assert not plain & {text for name in ("user_id", "order_id", "event_id") for text in events[name].to_list()}
    assert dataset.profiles()["user_id"][0] in events["user_id"]
    assert events["user_id"].n_unique() == 2
    assert b"u1" not in (tmp_path / "out-rejects.jsonl").read_bytes()
    assert not any("u1" in line for line in report.tallies[2].explain())
    assert dataset.manifest["pseudonyms"] == {"key_id": pseudonyms.key_id}
    assert Pseudonyms(b"l" * 16).key_id != pseudonyms.key_id


def test_a_short_key_is_refused(tmp_path: Path) -> None:
    """Ids are few, so a key that can be guessed hides nobody."""
    (tmp_path / "key").write_text("secret")
    with pytest.raises(ConfigError, match="6 bytes, at least 16"):
        Pseudonyms.from_file(tmp_path / "key")


def test_a_split_makes_two_datasets(tmp_path: Path) -> None:
    """Before the moment, and from it on; both with the catalogue."""
    at = datetime.fromtimestamp(START + DAY, UTC)
    imported(tmp_path, EVENTS, split_at=at)
    earlier, later = Dataset(tmp_path / "out"), Dataset(tmp_path / "out-later")
    assert [dataset.manifest["events"] for dataset in (earlier, later)] == [4, 1]
    assert earlier.manifest["to"] == later.manifest["from"] == at.isoformat()
    assert max(ts for _, ts in users_and_times(earlier)) < at.timestamp() <= users_and_times(later)[0][1]
    assert later.items().equals(earlier.items())
    with pytest.raises(ConfigError, match="one side has no events"):
        imported(tmp_path, EVENTS, split_at=NOW, overwrite=True)


def test_the_floor_counts_shoppers_not_searches(tmp_path: Path) -> None:
    """A query of one shopper stays for that shopper's history, and the manifest says how many such there are."""
    searches = [
        {"user_id": f"u{user}", "ts": START + user, "type": "search", "query": query}
        for user, query in enumerate(["tent", "TENT", "tent ", "my diary", "my diary"])
    ]
    searches[4]["user_id"] = "u3"
    imported(tmp_path, searches)
    dataset = Dataset(tmp_path / "out")
    assert dataset.manifest["k_anonymity"] == {
        "min_shoppers": 3,
        "queries": 2,
        "queries_below": 1,
        "searches_below": 2,
    }
    assert dataset.scan_events().collect()["query"].to_list().count("my diary") == 2


def test_it_says_what_is_lost_without_exposures(tmp_path: Path) -> None:
    """Most shops log none: the import works, and says what cannot."""
    lost = " ".join(imported(tmp_path, EVENTS).manifests[tmp_path / "out"]["lost"])
    assert "labels come from searches alone" in lost
    assert "no propensities" in lost
    assert "no searches" not in lost


def test_purchases_alone_get_pseudo_queries(tmp_path: Path) -> None:
    """One a category and basket, ahead of the basket, and named as what they are."""
    basket = [{"user_id": "u1", "ts": START, "type": "purchase", "item_id": item} for item in ("i2", "i1", "i2", "i9")]
    mapping = Mapping.model_validate({"events": {"pseudo_query": "category_leaf"}})
    imported(tmp_path, basket, mapping=mapping)
    dataset = Dataset(tmp_path / "out")
    events = dataset.scan_events().collect()
    searches = events.filter(pl.col("type") == "search")
    assert events["type"].to_list() == ["search"] * 2 + ["purchase"] * 4
    assert searches["query"].to_list() == ["stoves", "tents"]
    assert all(event_id.startswith("pseudo-query-") for event_id in searches["event_id"])
    assert dataset.manifest["pseudo_queries"] == {"field": "category_leaf", "searches": 2}


def test_parts_keep_a_shopper_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However small the parts are."""
    monkeypatch.setattr(output, "ROWS_PER_GROUP", 7)
    monkeypatch.setattr(output, "ROWS_PER_PART", 20)
    lines = [
        {"user_id": f"u{number % 9}", "ts": START + number, "type": "search", "query": f"q{number}"}
        for number in range(200)
    ]
    imported(tmp_path, lines)
    dataset = Dataset(tmp_path / "out")
    assert len(dataset.parts) > 1
    found = dict(dataset.shoppers(["ts"]))
    assert len(found) == 9
    assert sum(rows.height for rows in found.values()) == 200
    assert all(rows["ts"].is_sorted() for rows in found.values())


def test_the_last_line_of_an_item_counts(tmp_path: Path) -> None:
    """A catalogue dump may repeat an item; the newest line is the last."""
    items = write(tmp_path, "more.jsonl", [*ITEMS, {"item_id": "i1", "title": "New tent"}, {"item_id": "i3"}])
    report = imported(tmp_path, EVENTS, items=[items], max_rejects=0.3)
    assert Dataset(tmp_path / "out").items()["title"].to_list() == ["New tent", "Gas stove"]
    assert report.tallies[0].summary() == {
        "lines": 4,
        "accepted": 2,
        "duplicates": 1,
        "rejected": 1,
        "reasons": {"title_missing": 1},
    }
