"""Which triggers get a list: the most traffic a token, and none that tells of few shoppers."""

import shutil
from pathlib import Path

import polars as pl
import pytest

from service.contracts.errors import ArtefactError
from service.contracts.keys import category_trigger, item_trigger, query_trigger, segment_trigger, trigger_kind
from tests.support import POPULAR_WITH_ALL, RARE_QUERY, TENT, TENT_CATEGORY
from workers.common.triggers import select

PLENTY = 1_000_000


def test_every_kind_is_chosen_best_first(dataset: Path) -> None:
    """Items, categories, queries and segments, by how often a request would have looked them up."""
    triggers = [one.trigger for one in select(dataset, 100, PLENTY, 30.0).prompts]
    assert {item_trigger(TENT), category_trigger(TENT_CATEGORY), query_trigger(POPULAR_WITH_ALL)} <= set(triggers)
    assert segment_trigger("parent") in triggers
    assert triggers.index(item_trigger(TENT)) < triggers.index(item_trigger("stove-1"))
    assert category_trigger("") not in triggers


def test_a_budget_is_spent_where_the_traffic_is(dataset: Path) -> None:
    """A small one covers less, and says how much; the best triggers stay."""
    whole, half = select(dataset, 100, PLENTY, 30.0), select(dataset, 100, 300, 30.0)
    assert 0 < len(half.prompts) < len(whole.prompts)
    assert half.prompts[0] == whole.prompts[0]
    assert 0 < half.covered["all"] < whole.covered["all"] == 1.0
    assert sum(trigger_kind(one.trigger) == "item" for one in select(dataset, 1, PLENTY, 30.0).prompts) == 1


def test_what_few_shoppers_typed_is_no_trigger(dataset: Path) -> None:
    """It would become a key that others read; so would personal data."""
    triggers = {one.trigger for one in select(dataset, 100, PLENTY, 30.0).prompts}
    assert query_trigger(RARE_QUERY) not in triggers
    assert not any("+49" in trigger for trigger in triggers)


def test_who_refused_consent_is_not_counted(dataset: Path) -> None:
    """Not their searches, nor their segment."""
    before = {one.trigger: one.traffic for one in select(dataset, 100, PLENTY, 30.0).prompts}
    profiles = pl.read_parquet(dataset / "profiles.parquet")
    profiles.with_columns(consent=pl.col("user_id") != "u0").write_parquet(dataset / "profiles.parquet")
    after = {one.trigger: one.traffic for one in select(dataset, 100, PLENTY, 30.0).prompts}
    assert after[query_trigger(POPULAR_WITH_ALL)] == before[query_trigger(POPULAR_WITH_ALL)] - 1
    assert after[segment_trigger("parent")] == before[segment_trigger("parent")] - 1


def test_items_without_clicks_or_category_have_a_prompt_too(dataset: Path) -> None:
    """Every item can be asked for; a query's list must not repeat it."""
    found = {one.trigger: one for one in select(dataset, 100, PLENTY, 30.0).prompts}
    assert found[item_trigger("odd-1")].prompt == "<x2q><item>\nthing without category<category><hints>"
    assert found[category_trigger(TENT_CATEGORY)].prompt == "<x2q><category>\noutdoors camping tents<hints>"
    assert found[query_trigger(POPULAR_WITH_ALL)].query == POPULAR_WITH_ALL


def test_a_missing_dataset_is_named(tmp_path: Path) -> None:
    """With the command that makes one."""
    with pytest.raises(ArtefactError, match=r"items\.parquet: missing"):
        select(tmp_path, 1, 1, 1.0)


def test_a_trigger_with_nothing_to_tell_is_left_out(dataset: Path, tmp_path: Path) -> None:
    """No title, or one of symbols, and no category; its traffic counts as not covered."""
    shutil.copytree(dataset, tmp_path, dirs_exist_ok=True)
    items = pl.read_parquet(dataset / "items.parquet")
    empty = pl.DataFrame([("none", None, None, 1.0), ("odd", "<>", " > ", 1.0)], schema=items.schema, orient="row")
    pl.concat([items, empty]).write_parquet(tmp_path / "items.parquet")
    clicks = pl.DataFrame(
        {"user_id": ["u1"], "ts": [1.0], "type": ["click"], "query": [None], "item_id": ["odd"]},
        schema=pl.read_parquet_schema(dataset / "events" / "part-0.parquet"),
    )
    clicks.write_parquet(tmp_path / "events" / "part-1.parquet")
    found = select(tmp_path, 100, PLENTY, 30.0)
    triggers = {one.trigger for one in found.prompts}
    assert not triggers & {item_trigger("none"), item_trigger("odd"), category_trigger(" > ")}
    assert item_trigger("odd-1") in triggers
    assert 0 < found.covered["item"] < 1
