"""Samples: what training may see, and what a label is."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.contracts.errors import ArtefactError
from workers.common.dataset import EVENT_SCHEMA, ITEM_SCHEMA, PROFILE_SCHEMA, Dataset, DatasetWriter
from workers.common.prompt import CANDIDATES
from workers.common.reasons import Lesson
from workers.common.split import part_of
from workers.training.occasions import occasions
from workers.training.recipe import DataRecipe
from workers.training.samples import Sample, Shop, build, lm_samples

DAY = 86400.0
END = 1_793_491_200.0  # 2026-11-01
RECIPE = DataRecipe(lm_passes=1, cuts_per_shopper=6, label_window_days=7, min_shoppers=2, history_dropout=0.0)


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


def read(dataset: Dataset) -> Shop:
    """Return what training sees."""
    return Shop.read(dataset, RECIPE, 7, lambda _: None)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """60 shoppers who search a tent, open it, search a stove; some also do what must not be learned."""
    events = []
    for user in range(60):
        start = END - (8 + user % 10) * DAY
        events += [
            event(user, start, "search", "Dome  Tent"),
            event(user, start + 60, "click", "tent"),
            event(user, start + 120, "search", "camping stove"),
            event(user, start + 180, "search", "sleeping bag"),
            event(user, start + 240, "search", f"secret of shopper {chr(97 + user % 26)}{chr(97 + user // 26)}"),
            event(user, END - DAY, "search", "after the cut-off"),
        ]
    return read(write(tmp_path / "data", events, {"u001": False}))


@pytest.fixture
def samples(shop: Shop) -> list[Sample]:
    """Their list samples."""
    return build(shop, RECIPE, 7, lambda _: None)


def prompt(sample: Sample) -> str:
    """Return what is only read."""
    return "".join(text for text, learned in sample.pieces if not learned)


def labels(samples: list[Sample]) -> set[str]:
    """Return every query that is taught."""
    return {
        query
        for sample in samples
        for text, learned in sample.pieces
        if learned
        for query in text.splitlines()
        if query
    }


def test_labels_are_normalised_searches(samples: list[Sample]) -> None:
    """What shoppers search is what is taught, in its normal form."""
    assert labels(samples) == {"dome tent", "camping stove", "sleeping bag"}


def test_nothing_after_the_cut_off_is_learned_or_read(samples: list[Sample], shop: Shop) -> None:
    """The held-out days stay out, also of the histories."""
    everything = [*samples, *lm_samples(shop, np.random.default_rng(1))]
    assert not any("after the cut-off" in sample.text for sample in everything)


def test_a_query_of_one_shopper_is_never_learned(samples: list[Sample], shop: Shop) -> None:
    """k-anonymity: nobody's own words are suggested to others; they are read, in their own history."""
    windows = lm_samples(shop, np.random.default_rng(1))
    assert not any("secret" in query for query in labels([*samples, *windows]))
    assert any("secret" in sample.text for sample in windows)


def test_what_comes_leads_the_list(samples: list[Sample]) -> None:
    """Right after the tent was opened, the stove and the bag come first, in the order in which they were searched."""
    after_click = [s for s in samples if prompt(s).endswith("<search>\ndome tent<click><hints>")]
    assert after_click
    assert all(s.pieces[-1][0].startswith("\ncamping stove\nsleeping bag") for s in after_click)


def test_histories_are_learned_query_by_query(shop: Shop) -> None:
    """Each known query is learned where it was searched, and that it ends; the text is the prompt's, cut short."""
    window = next(s for s in lm_samples(shop, np.random.default_rng(1)) if s.text.count("<search>") == 4)
    learned = [text for text, is_learned in window.pieces if is_learned]
    assert learned == ["\ndome tent<click>", "\ncamping stove<search>\nsleeping bag<search>"]
    assert window.text.startswith("<u2q><profile>campers<now><search>\ndome tent<click><search>\ncamping stove")
    assert "<hints>" not in window.text
    assert not window.ends


def test_items_and_categories_lead_to_what_follows_them(samples: list[Sample]) -> None:
    """The click on the tent is followed by a search for a stove."""
    item = next(sample for sample in samples if prompt(sample).startswith("<x2q><item>\ndome tent"))
    category = next(sample for sample in samples if prompt(sample) == "<x2q><category>\noutdoors tents<hints>")
    assert "camping stove" in item.text
    assert "camping stove" in category.text


def test_the_same_seed_gives_the_same_samples(shop: Shop) -> None:
    """Samples are reproducible."""
    assert build(shop, RECIPE, 3, lambda _: None) == build(shop, RECIPE, 3, lambda _: None)


def test_more_samples_than_a_run_has_time_for_are_drawn_from(shop: Shop, samples: list[Sample]) -> None:
    """By the seed, of all kinds alike; fewer are all kept."""
    some = build(shop, RECIPE.model_copy(update={"max_samples": 40}), 7, lambda _: None)
    assert len(some) == 40 < len(samples)
    assert all(sample in samples for sample in some)
    assert some != build(shop, RECIPE.model_copy(update={"max_samples": 40}), 8, lambda _: None)
    assert build(shop, RECIPE.model_copy(update={"max_samples": 10_000}), 7, lambda _: None) == samples


def test_think_may_learn_triggers_alone(shop: Shop) -> None:
    """Without a moment of a shopper; lessons are there as ever."""
    alone = RECIPE.model_copy(update={"cuts_per_shopper": 0})
    lesson = Lesson("item:tent", "<x2q><item>\ndome tent<hints>", "tents; next stoves", ["camping stove"], "knowledge")
    found = build(shop, alone, 7, lambda _: None, [lesson])
    assert {prompt(sample)[:5] for sample in found} == {"<x2q>"}
    assert sum("<reasons>" in sample.text for sample in found) == 1


def test_moments_that_lists_are_drawn_for_tell_candidates_as_the_lists_learned_did(shop: Shop) -> None:
    """Regression: IL-GRPO drew lists for prompts without what the model was taught to choose from."""
    for told in (0, 3):
        drawn = occasions(shop, RECIPE.model_copy(update={"candidates": told}), 20, 7, lambda _: None)
        assert {(CANDIDATES in one.prompt) == (told > 0) for one in drawn} == {True}


def test_shoppers_without_consent_and_held_out_ones_are_not_trained_on(tmp_path: Path) -> None:
    """With only such shoppers there is nothing to learn, and the error says so."""
    events = [event(u, END - 9 * DAY + i * 60, "search", f"query {i}") for u in range(20) for i in range(4)]
    refused = {f"u{u:03d}": False for u in range(20) if part_of(f"u{u:03d}") == "train"}
    with pytest.raises(ArtefactError, match="nobody of train searched before the cut-off"):
        read(write(tmp_path / "data", events, refused))


def test_the_importers_floor_holds_for_labels(tmp_path: Path) -> None:
    """A dataset imported with a higher k-anonymity floor keeps it, whatever the recipe says."""
    events = [event(u, END - 9 * DAY + i * 60, "search", f"query {chr(97 + i)}") for u in range(8) for i in range(4)]
    dataset = write(tmp_path / "data", events, {})
    assert read(dataset).production.popularity
    dataset.manifest["k_anonymity"] = {"min_shoppers": 20}
    assert not read(dataset).production.popularity


def test_lessons_teach_reasons_beside_the_plain_lists(shop: Shop, samples: list[Sample]) -> None:
    """The prompt's end says which is asked for; what one shopper searched is not learned from a teacher either."""
    lesson = Lesson(
        "item:tent",
        "<x2q><item>\ndome tent<category>\ntents<hints>",
        "tents; next stoves",
        ["camping stove", "secret of shopper aa", "new idea"],
        "wise",
    )
    found = build(shop, RECIPE, 7, lambda _: None, [lesson])
    assert [one for one in found if "<reasons>" in one.text] == [
        Sample(
            (
                ("<x2q><item>\ndome tent<category>\ntents<reasons>", False),
                ("tents; next stoves<hints>\ncamping stove\nnew idea", True),
            )
        )
    ]
    assert len(found) == len(samples) + 1
    assert len(build(shop, RECIPE, 7, lambda _: None, [replace(lesson, queries=["secret of shopper aa"])])) == len(
        samples
    )


def test_plain_prompts_are_what_the_evaluation_will_ask(shop: Shop) -> None:
    """In plain language with titles, candidates as a list says them; triggers as ever; the same for rewards."""
    recipe = RECIPE.model_copy(update={"plain": True, "candidates": 3})
    found = [
        prompt(sample) for sample in build(shop, recipe, 7, lambda _: None) if not prompt(sample).startswith("<x2q>")
    ]
    drawn = [one.prompt for one in occasions(shop, recipe, 20, 7, lambda _: None)]
    for told in (*found, *drawn):
        assert told.startswith(
            "You suggest searches to a shopper of an online shop.\nAbout the shopper: segment campers."
        )
        assert told.endswith("the likeliest first:\n")
        assert "<" not in told
    assert any('opened the product "Dome Tent"\n' in told for told in found)
    assert any("\nSearches that may fit:\ncamping stove\n" in told for told in found)


def test_plain_histories_are_learned_query_by_query(shop: Shop) -> None:
    """The same queries as in the prompt's own tokens, with the quotation mark that ends each."""
    window = next(
        s for s in lm_samples(shop, np.random.default_rng(1), plain=True) if s.text.count("searched for") == 4
    )
    assert [text for text, learned in window.pieces if learned] == ['dome tent"', 'camping stove"', 'sleeping bag"']
    assert window.text.startswith("You suggest searches to a shopper of an online shop.\n")
    assert '\n- 4 minutes ago searched for "dome tent"\n- 3 minutes ago opened the product "Dome Tent"\n' in window.text
