"""Which triggers get a list."""

from pathlib import Path

import pytest

from service.contracts.errors import ArtefactError
from service.contracts.keys import category_trigger, item_trigger
from tests.support import TENT, TENT_CATEGORY
from workers.think.triggers import select


def test_all_categories_and_the_most_clicked_items(dataset: Path) -> None:
    """Clicked items come first, so that a small budget is spent where shoppers are."""
    triggers = [one.trigger for one in select(dataset, 2)]
    assert category_trigger(TENT_CATEGORY) in triggers
    assert [t for t in triggers if t.startswith("item:")] == [item_trigger(TENT), item_trigger("stove-1")]
    assert category_trigger("") not in triggers


def test_items_without_clicks_or_category_have_a_prompt_too(dataset: Path) -> None:
    """Every item can be asked for."""
    prompts = {one.trigger: one.prompt for one in select(dataset, 100)}
    assert prompts[item_trigger("odd-1")] == "<x2q><item>thing without category<category><hints>"
    assert prompts[category_trigger(TENT_CATEGORY)] == "<x2q><category>outdoors camping tents<hints>"


def test_a_missing_dataset_is_named(tmp_path: Path) -> None:
    """With the command that makes one."""
    with pytest.raises(ArtefactError, match=r"items\.parquet: missing"):
        select(tmp_path, 1)
