"""Measures: known values, bounds, and what they must not depend on."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.evaluation.metrics import distinctness, hit, hit_rate, ndcg, novelty, reciprocal_rank, score

LISTS = st.lists(st.sampled_from("abcdefghijkl"), unique=True, max_size=10)
TARGETS = st.lists(st.sampled_from("abcxyz"), unique=True, min_size=1, max_size=3)


def test_a_hit_is_a_target_among_the_first_k() -> None:
    """The seventh suggestion does not count for HR@6."""
    assert hit([*"bcdefg", "a"], ["a"], 6) == 0
    assert hit([*"bcdef", "a"], ["a"], 6) == 1
    assert hit([], ["a"], 6) == 0


def test_known_values() -> None:
    """Rank 2 of one target: DCG 1/log2(3), reciprocal rank 1/2."""
    assert ndcg(["b", "a"], ["a"], 10) == pytest.approx(1 / math.log2(3))
    assert reciprocal_rank(["b", "a"], ["a"], 10) == 0.5
    assert ndcg(["a", "b"], ["b", "a"], 10) == 1, "the order of the targets does not matter"
    assert hit_rate([["a"], ["b"], ["c"]], [["a"], ["x"], []]) == 0.5, "a case without targets is none"
    assert math.isnan(hit_rate([["a"]], [[]]))


@given(LISTS, TARGETS)
def test_bounds(suggested: list[str], targets: list[str]) -> None:
    """All are in [0, 1]; hit rates rise with k; NDCG is 1 for the targets first, and 0 exactly without a hit."""
    by_name = {name: values[0] for name, values in score([suggested], [targets]).items()}
    assert all(0 <= value <= 1 for value in by_name.values())
    assert by_name["hr@3"] <= by_name["hr@6"] <= by_name["hr@10"]
    assert (by_name["ndcg@10"] > 0) == (by_name["mrr@10"] > 0) == (by_name["hr@10"] > 0)
    assert ndcg(list(dict.fromkeys([*targets, *suggested])), targets, 10) == pytest.approx(1)


def test_a_case_without_targets_is_not_a_number() -> None:
    """So that it is left out of means, instead of counting as a miss."""
    assert all(np.isnan(values).tolist() == [False, True] for values in score([["a"], ["a"]], [["a"], []]).values())


def test_distinctness_sees_through_plurals_and_word_order() -> None:
    """Two of three queries are the same to a shopper."""
    assert distinctness([["red shoes", "shoe red", "tent"]]) == pytest.approx(2 / 3)
    assert math.isnan(distinctness([[]]))


def test_novelty_is_self_information() -> None:
    """What a quarter searches has 2 bits; what nobody searched counts as if one had."""
    assert novelty([["a"]], {"a": 2}, 8) == 2
    assert novelty([["never seen"]], {"a": 2}, 8) == 3
