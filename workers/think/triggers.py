"""Which triggers get a list, and what the model is told about each."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from service.contracts.errors import ArtefactError
from service.contracts.keys import Trigger, category_trigger, item_trigger
from workers.common.prompt import render_x2q_category, render_x2q_item


@dataclass(frozen=True, slots=True)
class TriggerPrompt:
    """A trigger and its prompt."""

    trigger: Trigger
    prompt: str


def select(dataset: Path, max_items: int) -> list[TriggerPrompt]:
    """Return all categories and the `max_items` most clicked items of a dataset (then the others, in id order).

    Raises:
        ArtefactError: the dataset has no items.
    """
    path = dataset / "items.parquet"
    if not path.exists():
        raise ArtefactError(f"{path}: missing; a dataset comes from: aigq shop generate, or aigq import")
    items = pl.read_parquet(path, columns=["item_id", "title", "category"])
    clicks = (
        pl.scan_parquet(dataset / "events" / "*.parquet")
        .filter(pl.col("type").is_in(["click", "cart", "purchase"]))
        .group_by("item_id")
        .len("clicks")
        .collect()
    )
    ranked = (
        items.join(clicks, on="item_id", how="left")
        .with_columns(pl.col("clicks").fill_null(0), pl.col("category").fill_null(""))
        .sort(["clicks", "item_id"], descending=[True, False])
    )
    categories = sorted(ranked.filter(pl.col("category") != "")["category"].unique().to_list())
    prompts = [TriggerPrompt(category_trigger(c), render_x2q_category(c)) for c in categories]
    for item_id, title, category in ranked.head(max_items).select("item_id", "title", "category").iter_rows():
        prompts.append(TriggerPrompt(item_trigger(item_id), render_x2q_item(title, category)))
    return prompts
