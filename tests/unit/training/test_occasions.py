"""What lists are drawn for, and what they are worth: by hand."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from service.contracts.codecs import BehaviourEntry
from service.contracts.errors import ArtefactError
from service.ranking.shopper_context import ShopperContext
from tests.unit.training.test_samples import DAY, END, event, read, write
from workers.common.reasons import Lesson
from workers.training.occasions import CtrRewarder, Occasion, expected, of_triggers
from workers.training.recipe import RewardWeights
from workers.training.rewards import FLOOR, Written
from workers.training.samples import Shop


class Scorer:
    """A CTR ranker whose usual chance of a click is 1 in 10."""

    meta = SimpleNamespace(bias=math.log(0.1 / 0.9))

    def score(self, context: ShopperContext, queries: list[str]) -> Any:
        """See `CtrScorer.score`."""
        assert context.profile == {"segment": "campers"}
        return np.array([{"tent": 0.05, "lamp": 0.9}.get(query, 0.5) for query in queries], dtype=np.float32)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """30 shoppers who search a tent, open it, and search a stove."""
    lines = []
    for user in range(30):
        start = END - (8 + user % 10) * DAY
        lines += [
            event(user, start, "search", "dome tent"),
            event(user, start + 60, "click", "tent"),
            event(user, start + 120, "search", "camping stove"),
        ]
    return read(write(tmp_path / "data", lines, {}))


def test_chances_count_beside_those_of_the_label() -> None:
    """Their roots over the mean root of the label's queries: four times as likely is worth twice as much."""
    found = expected({"tent": 0.16, "lamp": 0.04, "mug": 0.64, "rope": 0.0025}, ["tent", "lamp"])
    assert found == pytest.approx({"tent": 4 / 3, "lamp": 2 / 3, "mug": 8 / 3, "rope": 1 / 6})
    assert expected({"rope": 0.1}, ["tent"]) == {}, "nothing to compare with"
    assert expected({"tent": 0.0}, ["tent"]) == {}


def test_what_is_likelier_is_worth_more_however_it_came() -> None:
    """A shopper's own queries are the likeliest, so they are worth the most: else lists learn to give them up."""
    chances = {"own": 0.3, "newer": 0.02, "rare": 0.001}
    found = expected(chances, list(chances))
    assert sorted(found, key=lambda query: -found[query]) == ["own", "newer", "rare"]


def test_a_list_is_worth_clicks_expectations_likeness_and_hits() -> None:
    """Each relative to the usual, capped at a multiple of it; what would be dropped is worth the floor."""
    scorer: Any = Scorer()
    context = ShopperContext(0.0, profile={"segment": "campers"})
    occasion = Occasion("p", ["tent"], ["lamp"], context, {"tent": 5.0, "lamp": 0.5})
    weights = RewardWeights(ctr=0.25, expected=1, rouge=0.25, found=0.5)
    judge = CtrRewarder(scorer, lambda query: query != "zzz", weights)
    queries, whole = judge.rewards(occasion, Written(["tent", "lamp", "zzz"], whole=True))
    assert queries == pytest.approx([0.25 * 0.5 + 4 + 0.25, 0.25 * 2 + 0.5 + 0.5, FLOOR])
    # Two of ten places are filled, a third of the lines is dropped, all words differ, the label is covered.
    assert whole == pytest.approx(2 / 10 - 1 / 3 + 1 + 1)


def test_a_trigger_is_worth_what_is_searched_after_it(shop: Shop) -> None:
    """Items and categories by their labels; a click is that of who opened the item; nothing is known to come."""
    found = of_triggers(shop, [], 40, 7)
    assert found == of_triggers(shop, [], 40, 7)
    assert {one.prompt.split("\n")[0] for one in found} == {"<x2q><item>", "<x2q><category>"}
    item = next(one for one in found if one.prompt.startswith("<x2q><item>\ndome tent"))
    assert item.labels == ["dome tent", "camping stove"]
    assert item.context.behaviour == [BehaviourEntry("click", shop.period[1], "tent")]
    assert item.expected["camping stove"] == pytest.approx(1.0)
    assert (item.coming, item.own) == ((), ())
    category = next(one for one in found if "<item>" not in one.prompt)
    assert category.context.behaviour == []


def test_lessons_are_asked_for_reasons_by_turns(shop: Shop) -> None:
    """Their own lists are labels, but for queries that too few searched; each kind of trigger is its own shopper."""
    queries = ["camping stove", "new idea"]
    lessons = [
        Lesson("query:dome tent", "<u2q><now><search>\ndome tent<hints>", "why", queries, "wise"),
        Lesson("segment:campers", "<u2q><profile>campers<hints>", "why", queries, "wise"),
    ]
    found = of_triggers(shop, lessons, 40, 7)
    asked = [one for one in found if one.prompt.endswith("<reasons>")]
    assert len(asked) == 20
    assert all(one.labels == queries for one in asked)
    query = next(one for one in asked if "<search>" in one.prompt)
    assert query.context.behaviour == [BehaviourEntry("search", shop.period[1], "dome tent")]
    segment = next(one for one in asked if "<profile>" in one.prompt)
    assert segment.context.profile == {"segment": "campers"}
    for one in (query, segment):
        assert one.expected["camping stove"] == pytest.approx(1.0)


def test_a_shop_without_triggers_is_told(tmp_path: Path) -> None:
    """Logs of searches alone lead from no item anywhere."""
    lines = [event(user, END - 9 * DAY + n, "search", f"query {chr(97 + n)}") for user in range(9) for n in range(3)]
    silent = read(write(tmp_path / "data", lines, {}))
    with pytest.raises(ArtefactError, match="set triggers to 0"):
        of_triggers(silent, [], 4, 7)
    assert of_triggers(silent, [], 0, 7) == []
