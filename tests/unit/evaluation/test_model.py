"""The model's lists: prompt, parser, merge and catalogue are those of the workers and the service."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from service.contracts.codecs import ScoredQuery
from service.contracts.errors import GeneratorUnavailable
from service.contracts.keys import category_trigger, item_trigger, query_trigger, segment_trigger
from service.ranking.calibration import BY_HAND, Calibration
from service.ranking.catalogue import Catalogue
from service.ranking.shopper_context import ShopperContext
from tests.unit.evaluation.shops import CUT, DAY, JOURNEYS
from workers.common.dataset import Dataset
from workers.common.fake_generator import FakeGenerator
from workers.common.generator import Generation
from workers.common.prompt import render_x2q_item, with_reasons
from workers.common.ranked_list import Ranker
from workers.common.triggers import TriggerPrompt, select
from workers.evaluation import learned
from workers.evaluation.cases import Act, Case, Item, Split
from workers.evaluation.generate import generate_with
from workers.evaluation.merged import ROWS, Merged, served, trigger_lists, wanted
from workers.evaluation.model import KEPT, ModelLists, prompt_of, quality

CASE = Case(
    "c",
    {"segment": "camper"},
    [Act("search", CUT - 3 * DAY, "tent"), Act("click", CUT - 3600, "i1"), Act("cart", CUT - 60, "gone")],
    ("stove",),
)
ITEMS = {"i1": Item("Dome Tent", "Camping > Tents", "")}


def _lists(text: str, *, truncated: bool = False) -> ModelLists:
    return ModelLists(
        "m",
        {"c": "p"},
        {"p": Generation(text, 5, truncated)},
        lambda query: "finds_nothing" if "zzz" in query else None,
    )


def test_the_prompt_is_the_direct_workers() -> None:
    """At the cut-off, with the words that stand for items; an item that left the catalogue is not told."""
    told = prompt_of(CASE, {"i1": "Dome Tent"}, CUT)
    assert told == "<u2q><profile>camper<3_days_ago><search>\ntent<1_hour_ago><click>\ndome tent<hints>"
    long = Case("c", {}, [Act("search", float(n), f"query {n}") for n in range(KEPT + 9)], ("x",))
    assert "query 8" not in prompt_of(long, {}, CUT)


def test_all_targets_may_be_ones_own_and_novel_ones_not() -> None:
    """Serving leaves out near-duplicates of recent searches, and so does the list for novel targets."""
    lists = _lists("tents\nstove\nzzz lamp\nlamp")
    assert lists.suggest([CASE]) == [["tents", "stove", "lamp"]]
    assert lists.suggest([CASE], novel=True) == [["stove", "lamp"]]
    assert lists.suggest([CASE], 1) == [["tents"]]


def test_a_refused_prompt_has_an_empty_list() -> None:
    """It counts as a miss."""
    assert ModelLists("m", {"c": "p"}, {}, lambda _: None).suggest([CASE]) == [[]]


def test_quality_counts_what_the_parser_drops() -> None:
    """Half a query, markup and nothing at all are bad format; duplicates and unknown words are counted apart."""
    generations = [
        Generation("tent\ntents\nzzz\nlamp", 4, truncated=False),
        Generation("tent\nlam", 2, truncated=True),
        Generation("<b>tent</b>\nlamp", 2, truncated=False),
        Generation("", 0, truncated=False),
        None,
    ]
    found = quality(generations, {"zzz": "finds_nothing"}.get)
    assert found.format_valid == pytest.approx(1 / 5)
    assert found.dup_rate == pytest.approx(1 / 8)
    assert found.nothing_rate == pytest.approx(1 / 8)
    assert found.drops["refused"] == found.drops["truncated"] == found.drops["markup"] == 1
    assert found.lists[0] == ["tent", "zzz", "lamp"]


async def test_each_distinct_prompt_is_asked_once() -> None:
    """Cold shoppers share prompts; a refused prompt has no generation."""
    generator = FakeGenerator(lambda prompt: None if prompt == "bad" else prompt.upper())
    asked: list[int] = []
    found = await generate_with(generator, ["a", "bad", "a", "b"], asked.append)
    assert {prompt: one.text for prompt, one in found.items()} == {"a": "A", "b": "B"}
    assert generator.batches == [["a", "bad", "b"]]
    assert sum(asked) == 3


def test_a_server_that_is_away_is_an_error() -> None:
    """No figures of a model that never answered."""
    generator = FakeGenerator(lambda _: "", failures=[GeneratorUnavailable("away")])
    with pytest.raises(GeneratorUnavailable):
        asyncio.run(generate_with(generator, ["a"], lambda _: None))


@pytest.fixture
def catalogue(journey_data: Dataset, split: Split, tmp_path: Path) -> Catalogue:
    """Return the artefact of what may be learned from the journeys."""
    return learned.catalogue(journey_data, split, tmp_path)


def test_the_learned_catalogue_knows_learners_only(catalogue: Catalogue, split: Split) -> None:
    """What is popular holds only queries that learners searched before the cut-off."""
    assert set(catalogue.popular.queries) <= set(split.queries)
    catalogue.close()


class LikesTheLast(Ranker):
    """A ranker that found one more, and prefers it."""

    def chances(self, context: ShopperContext, generated: Sequence[str] = ()) -> dict[str, float]:
        """See `Ranker.chances`."""
        assert [entry.ref for entry in context.behaviour] == [*context.items]
        return {"office chair": 0.9, **dict.fromkeys(generated, 0.1)}


def test_triggers_are_those_of_the_think_job_that_requests_look_up(journey_data: Dataset, catalogue: Catalogue) -> None:
    """Items, categories and queries of who did something; the segment of who did not."""
    chosen = select(journey_data.root, 100, 1_000_000, 80.0, learning=True).prompts
    seen = Case("c", {"segment": "segment 0"}, [Act("click", CUT - DAY, "camping stove-item")], ("x",))
    asked = Case("d", {}, [Act("search", CUT - DAY, "tent"), Act("search", CUT - 60, "typed by nobody else")], ("x",))
    new = Case("e", {"segment": "segment 0"}, [], ("x",))
    found = {case.user_id: {one.trigger for one in wanted(chosen, [case], catalogue)} for case in (seen, asked, new)}
    assert found == {
        "c": {item_trigger("camping stove-item"), category_trigger("All > tent")},
        "d": {query_trigger("tent")},
        "e": {segment_trigger("segment 0")},
    }
    assert wanted([], [seen], catalogue) == []
    catalogue.close()


def test_merged_is_what_a_request_would_answer(journey_data: Dataset, catalogue: Catalogue) -> None:
    """What the item's list and co-click agree on leads, the shopper's list follows, popular queries fill up."""
    item = "camping stove-item"
    case = Case("c", {"segment": "segment 0"}, [Act("click", CUT - DAY, item)], ("x",))
    asked = wanted(select(journey_data.root, 100, 1_000_000, 80.0, learning=True).prompts, [case], catalogue)
    answers = {item_trigger(item): Generation("sleeping bag\nzzz", 3, truncated=False)}
    x2q = trigger_lists(asked, answers, catalogue.refuses, Counter())
    assert {key: [one.query for one in queries] for key, queries in x2q.items()} == {
        item_trigger(item): ["sleeping bag"]
    }
    u2q = ModelLists("m", {"c": "p"}, {"p": Generation("diapers", 1, truncated=False)}, catalogue.refuses)
    merged = Merged("aigq", u2q, x2q, catalogue, CUT)
    (answer,) = merged.suggest([case])
    assert answer[:2] == ["sleeping bag", "diapers"]
    assert "camping stove" in answer[2:]
    ranked = Merged("aigq", u2q, x2q, catalogue, CUT, LikesTheLast())
    assert ranked.suggest([case])[0][:2] == ["office chair", "diapers"]
    alone = Merged("think", ModelLists("m", {"c": "p"}, {}, catalogue.refuses), x2q, catalogue, CUT, retrieval=False)
    assert alone.suggest([case]) == [["sleeping bag"]]
    own = Case("c", {"segment": "segment 0"}, [*case.history, Act("search", CUT - 60, "Tent")], ("x",))
    assert "tent" in merged.suggest([own])[0]
    assert "tent" not in merged.suggest([own], novel=True)[0]
    catalogue.close()


def test_lists_with_reasons_are_read_as_the_think_job_reads_them(catalogue: Catalogue) -> None:
    """By the prompt that asked; one without reasons is counted, and no list."""
    one, other = (with_reasons(render_x2q_item(title, "all")) for title in ("tent", "lamp"))
    answers = {
        "item:1": Generation("goes with bags<hints>sleeping bag\nzzz", 6, truncated=False),
        "item:2": Generation("sleeping bag", 2, truncated=False),
    }
    drops: Counter[str] = Counter()
    asked = [TriggerPrompt("item:1", one), TriggerPrompt("item:2", other)]
    found = trigger_lists(asked, answers, catalogue.refuses, drops)
    assert {key: [query.query for query in queries] for key, queries in found.items()} == {"item:1": ["sleeping bag"]}
    assert drops == {"finds_nothing": 1, "no_list": 1}


def test_who_has_no_list_is_led_by_the_latest_triggers(journey_data: Dataset, split: Split, tmp_path: Path) -> None:
    """The rows of what is served: x2q leads where there is no list, and weights change what there is no x2q for."""
    catalogue = learned.catalogue(journey_data, split, tmp_path)
    lists = ModelLists("m", {"c": "p"}, {"p": Generation("dog bed", 2, truncated=False)}, catalogue.refuses)
    x2q = {query_trigger("tent"): [ScoredQuery("desk lamp", 1.0)]}
    case = Case("c", {"segment": "segment 1"}, [Act("search", CUT - 60, "tent")], ("x",))
    rows = served(lists, x2q, catalogue, [BY_HAND, Calibration(0.001, 1.0, 1.0)], CUT, None)
    assert {row.name for row in rows} == set(ROWS)
    first = {row.name: row.suggest([case], 1, novel=True)[0][0] for row in rows}
    assert first["no_list"] == "desk lamp"
    assert first["without_model"] in JOURNEYS[0]
    assert first["without_model_calibrated"] in JOURNEYS[1]
    catalogue.close()
