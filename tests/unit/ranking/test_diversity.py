"""Diversity: another order, nothing lost, the best one first."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.contracts.text import near_key
from service.ranking.diversity import diversify
from service.ranking.merge import Candidate, merge
from tests.support import ANY_TEXT, QUERIES, proposal

queries = QUERIES.flatmap(lambda known: st.sampled_from(known) if known else st.just("tent")) | ANY_TEXT
candidates = st.lists(
    st.builds(Candidate, queries, st.just("u2q"), st.floats(0, 2), st.sampled_from([None, "item:a"])), max_size=40
)
CATEGORY = {"tent": "Camping", "tents": "Camping", "red shoes": "Shoes", "shoe red": "Shoes"}.get
ks, weights = st.integers(1, 12), st.floats(0, 1)


def _merge(given_candidates: Sequence[Candidate], *arguments: Any, **options: Any) -> list[Candidate]:
    """Merge what sources propose, each candidate by itself."""
    return merge([proposal(one) for one in given_candidates], *arguments, **options)


@given(candidates, ks, weights, QUERIES)
def test_what_diversity_promises(given_candidates: list[Candidate], k: int, weight: float, seen: list[str]) -> None:
    """The same candidates; the best first; what tires stays behind what does not."""
    tired = {near_key(query) for query in seen}
    ranked = _merge(given_candidates, k, [], pool=20, tired=tired)
    found = diversify(ranked, k, weight, CATEGORY, tired)
    assert {id(one) for one in found} == {id(one) for one in ranked}
    assert len(found) == len(ranked)
    assert found[:1] == ranked[:1]
    are_tired = [near_key(one.query) in tired for one in found]
    assert are_tired == sorted(are_tired)


@given(candidates, ks)
def test_without_weight_nothing_changes(given_candidates: list[Candidate], k: int) -> None:
    """Off is off."""
    assert diversify(given_candidates, k, 0.0, CATEGORY) == given_candidates


@pytest.mark.parametrize(
    ("alike", "other"), [(("camping tent", "camping tent red"), "gas stove"), (("露营帐篷", "露营帐篷大"), "炉子")]
)
def test_what_is_unlike_comes_forward(alike: tuple[str, str], other: str) -> None:
    """In both scripts, once it weighs more than the difference in score; not before."""
    ranked = [Candidate(query, "u2q", score) for query, score in zip((*alike, other), (1.0, 0.9, 0.6), strict=True)]
    assert [one.query for one in diversify(ranked, 2, 0.05, CATEGORY)] == [*alike, other]
    assert [one.query for one in diversify(ranked, 2, 0.5, CATEGORY)] == [alike[0], other, alike[1]]


def test_what_the_quota_held_back_does_not_come_forward_by_its_score() -> None:
    """Its place says what it is worth here."""
    lead = [Candidate(f"tent {word}", "x2q", 0.9, "item:a") for word in ("peg", "pole", "rope")]
    fill = [Candidate("lamp", "popular", 0.05), Candidate("stove", "popular", 0.04)]
    ranked = _merge([*lead, *fill], 3, [], pool=2)
    shown = diversify(ranked, 3, 0.1, CATEGORY)[:3]
    assert [one.query for one in shown] == [one.query for one in ranked[:3]]


def test_another_category_comes_forward_though_no_word_is_shared() -> None:
    """What two queries find may be alike where their words are not."""
    ranked = [Candidate(query, "u2q", score) for query, score in (("tent", 1.0), ("bivouac", 0.9), ("lamp", 0.8))]
    about = {"tent": "Camping", "bivouac": "Camping", "lamp": "Home"}.get
    assert [one.query for one in diversify(ranked, 2, 0.3, about)] == ["tent", "lamp", "bivouac"]
