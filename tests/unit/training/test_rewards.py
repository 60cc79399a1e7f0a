"""What is rewarded, and how much."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import QUERIES
from workers.common.list_parser import LIST_SIZE
from workers.training.recipe import RewardWeights
from workers.training.rewards import (
    FLOOR,
    LineScores,
    Written,
    droppable,
    likeness,
    query_rewards,
    rouge_l,
    sequence_reward,
)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("red running shoes", "running shoes", 0.8),
        ("shoes running", "running shoes", 0.5),
        ("tent", "lamp", 0.0),
        ("", "lamp", 0.0),
        ("跑步鞋", "男士跑步鞋", 0.75),
    ],
)
def test_rouge_l(one: str, other: str, expected: float) -> None:
    """F1 of the longest common subsequence, in words, in characters for CJK; the order of the two does not matter."""
    assert rouge_l(one, other) == pytest.approx(expected)
    assert rouge_l(other, one) == pytest.approx(expected)


@given(QUERIES, QUERIES)
def test_likeness_is_one_to_one(lines: list[str], labels: list[str]) -> None:
    """As many successes as there are labels, each at most 1; a list that is the label is matched in full."""
    found = likeness(lines, labels)
    assert len(found) == len(lines)
    assert all(0 <= one <= 1 for one in found)
    assert sum(one > 0 for one in found) <= len(labels)
    assert sum(likeness(labels, labels)) == pytest.approx(sum(bool(label.split()) for label in labels))


def test_the_best_matching_wins() -> None:
    """Not the first come: "shoes" leaves "red shoes" to the line that has both words."""
    assert likeness(["shoes", "red shoes"], ["red shoes"]) == [0.0, 1.0]


def test_what_the_parser_would_drop() -> None:
    """Repetitions (also near ones), markup, capitals, what finds nothing, what the token cap cut, and the eleventh."""
    lines = ["tent", "tents", "<b>", "Tent Pole", "zzz", "lamp", "stov"]
    assert droppable(Written(lines, whole=False), lambda query: query != "zzz") == [
        False, True, True, True, True, False, True,
    ]  # fmt: skip
    assert droppable(Written(["tent", "lamp", "mat"], whole=True), lambda _: True, {"tent", "lamp"}, 1) == [
        False, True, False,
    ]  # fmt: skip
    many = [f"tent {'x' * n}" for n in range(1, 13)]
    assert droppable(Written(many, whole=True), lambda _: True) == [False] * LIST_SIZE + [True] * 2


def test_a_query_is_worth_its_parts() -> None:
    """Click chance, likeness and being right add up by weight; what is dropped is worth less than anything."""
    written = Written(["red tent", "lamp", "lamp"], whole=True)
    weights = RewardWeights(ctr=1, expected=8, rouge=2, found=4)
    scores = LineScores(ctr=[0.1, 0.3, 0.3], expected=[0.5, 0.0, 0.0])
    found = query_rewards(written, ["tent"], ["lamp"], scores, [False, False, True], weights)
    assert found == pytest.approx([0.1 + 8 * 0.5 + 2 * 2 / 3, 0.3 + 4, FLOOR])


def test_a_list_is_worth_its_form() -> None:
    """Whole beats cut, full beats short, varied beats monotonous, right beats wrong, nothing is the worst."""
    label = ["tent", "lamp"]

    def worth(*lines: str, whole: bool = True) -> float:
        written = Written(lines, whole=whole)
        return sequence_reward(written, label, droppable(written, lambda _: True))

    assert worth("tent", "stove") > worth("tent", "stove", whole=False)
    assert worth("tent", "stove", "mat") > worth("tent", "stove")
    assert worth("tent", "stove") > worth("tent", "tent")
    assert worth("red mat", "big cup") > worth("red mat", "red cup")
    assert worth("tent", "lamp") > worth("tent", "stove")
    assert worth() == worth("<b>") == FLOOR


@given(st.lists(st.sampled_from(["tent", "lamp", "<x>", "red tent", "日本 茶"]), max_size=14), st.booleans(), QUERIES)
def test_rewards_are_bounded(lines: list[str], whole: bool, label: list[str]) -> None:  # noqa: FBT001
    """Whatever a model writes."""
    written = Written(lines, whole=whole)
    dropped = droppable(written, lambda _: True)
    assert FLOOR - 1 <= sequence_reward(written, label, dropped) <= 3
    scores = LineScores(ctr=[0.5] * len(lines), expected=[0.5] * len(lines))
    rewards = query_rewards(written, label, label, scores, dropped, RewardWeights())
    assert all(FLOOR <= reward <= 2.5 for reward in rewards)
