"""Samples: what training may see, and what a label is."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from service.contracts.errors import ArtefactError
from workers.common.dataset import EVENT_SCHEMA, ITEM_SCHEMA, PROFILE_SCHEMA, Dataset, DatasetWriter
from workers.training.recipe import DataRecipe
from workers.training.samples import Sample, build, cut_off, distinct, held_out

DAY = 86400.0
END = 1_793_491_200.0  # 2026-11-01
RECIPE = DataRecipe(
    held_out_days=2, held_out_share=0.2, cuts_per_shopper=6, label_window_days=7, min_shoppers=2, history_dropout=0.0
)


def event(user: int, ts: float, kind: str, ref: str) -> dict[str, Any]:
    """Return one log line."""
    return {"user_id": f"u{user:03d}", "ts": ts, "type": kind, "query" if kind == "search" else "item_id": ref}


def write(root: Path, events: list[dict[str, Any]], consent: dict[str, bool]) -> Dataset:
    """Write a dataset of these events, of two items, ending at END."""
    import pyarrow as pa  # noqa: PLC0415

    with DatasetWriter(root) as writer:
        writer.write_events(0, pa.Table.from_pylist(events, EVENT_SCHEMA))
        items = [
            {"item_id": "tent", "title": "Dome Tent", "category": "Outdoors > Tents"},
            {"item_id": "stove", "title": "Gas Stove", "category": "Outdoors > Stoves"},
        ]
        writer.write("items.parquet", pa.Table.from_pylist(items, ITEM_SCHEMA))
        users = sorted({line["user_id"] for line in events})
        profiles = [{"user_id": user, "segment": "campers", "consent": consent.get(user, True)} for user in users]
        writer.write("profiles.parquet", pa.Table.from_pylist(profiles, PROFILE_SCHEMA))
        writer.close({"to": "2026-11-01T00:00:00+00:00", "from": "2026-10-01T00:00:00+00:00"})
    return Dataset(root)


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    """Samples of 60 shoppers who search a tent, open it, search a stove; some also do what must not be learned."""
    events = []
    for user in range(60):
        start = END - (5 + user % 10) * DAY
        events += [
            event(user, start, "search", "Dome  Tent"),
            event(user, start + 60, "click", "tent"),
            event(user, start + 120, "search", "camping stove"),
            event(user, start + 180, "search", "sleeping bag"),
            event(user, start + 240, "search", f"secret of shopper {chr(97 + user % 26)}{chr(97 + user // 26)}"),
            event(user, END - DAY, "search", "after the cut-off"),
        ]
    return build(write(tmp_path / "data", events, {"u001": False}), RECIPE, 7, lambda _: None)


def labels(samples: list[Sample]) -> set[str]:
    """Return every query that is taught."""
    return {query for sample in samples for query in sample.completion.split("\n")}


def test_labels_are_normalised_coming_searches(samples: list[Sample]) -> None:
    """What shoppers search next is what is taught, in its normal form."""
    assert labels(samples) == {"dome tent", "camping stove", "sleeping bag"}


def test_nothing_after_the_cut_off_is_a_label(samples: list[Sample]) -> None:
    """The held-out days stay out."""
    assert "after the cut-off" not in labels(samples)


def test_a_query_of_one_shopper_is_never_a_label(samples: list[Sample]) -> None:
    """k-anonymity: nobody's own words are suggested to others."""
    assert not any("secret" in query for query in labels(samples))


def test_what_was_searched_is_not_in_the_label(samples: list[Sample]) -> None:
    """Serving drops recent searches, so the model is not taught to repeat them."""
    for sample in samples:
        if "<search>dome tent" in sample.prompt:
            assert "dome tent" not in sample.completion.split("\n")


def test_items_and_categories_lead_to_what_follows_them(samples: list[Sample]) -> None:
    """The click on the tent is followed by a search for a stove."""
    item = next(sample for sample in samples if sample.prompt.startswith("<x2q><item>dome tent"))
    category = next(sample for sample in samples if sample.prompt == "<x2q><category>outdoors tents<hints>")
    assert "camping stove" in item.completion
    assert "camping stove" in category.completion


def test_the_same_seed_gives_the_same_samples(tmp_path: Path) -> None:
    """Samples are reproducible."""
    events = [event(u, END - 9 * DAY + i * 60, "search", f"query {i}") for u in range(20) for i in range(4)]
    dataset = write(tmp_path / "data", events, {})
    assert build(dataset, RECIPE, 3, lambda _: None) == build(dataset, RECIPE, 3, lambda _: None)


def test_shoppers_without_consent_and_held_out_ones_are_not_trained_on(tmp_path: Path) -> None:
    """With only such shoppers there is nothing to learn, and the error says so."""
    events = [event(u, END - 9 * DAY + i * 60, "search", f"query {i}") for u in range(20) for i in range(4)]
    refused = {f"u{u:03d}": False for u in range(20) if not held_out(f"u{u:03d}", RECIPE.held_out_share)}
    dataset = write(tmp_path / "data", events, refused)
    with pytest.raises(ArtefactError, match="gives no training sample"):
        build(dataset, RECIPE, 3, lambda _: None)


def test_a_dataset_without_searches_is_refused(tmp_path: Path) -> None:
    """The error names the dataset."""
    dataset = write(tmp_path / "data", [event(1, END - 9 * DAY, "click", "tent")], {})
    with pytest.raises(ArtefactError, match="has no searches"):
        build(dataset, RECIPE, 3, lambda _: None)


def test_held_out_share_is_about_what_is_asked() -> None:
    """The split is by hash, so it is the same in every run."""
    share = sum(held_out(f"user {n}", 0.1) for n in range(5000)) / 5000
    assert 0.08 < share < 0.12


def test_cut_off_is_days_before_the_end() -> None:
    """It is counted back from the manifest's end."""
    assert cut_off({"to": "2026-11-01T00:00:00+00:00"}, RECIPE) == END - 2 * DAY


def test_distinct_drops_near_duplicates() -> None:
    """Word order and plural do not make another query."""
    assert distinct(["running shoes", "shoe running", "socks"], ["sock"]) == ["running shoes"]


def test_polars_is_enough_to_read_what_was_written(samples: list[Sample], tmp_path: Path) -> None:
    """A dataset is plain Parquet."""
    assert samples
    assert pl.read_parquet(tmp_path / "data" / "events" / "*.parquet").height == 360
