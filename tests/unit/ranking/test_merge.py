"""Merging: at most k, no two alike, nothing excluded, best first, no trigger takes all."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from service.contracts.text import near_key, normalise
from service.ranking.calibration import BY_HAND
from service.ranking.filter import reject_reason
from service.ranking.merge import (
    TRIGGER_SHARE,
    WEIGHT_U2Q,
    Candidate,
    Proposal,
    merge,
    rank_score,
    ranked_score,
    recent_searches,
    rows,
    trigger_weight,
)
from tests.support import ANY_TEXT, QUERIES, proposal

queries = QUERIES.flatmap(lambda known: st.sampled_from(known) if known else st.just("tent")) | ANY_TEXT
u2q = st.builds(Candidate, queries, st.just("u2q"), st.floats(0, 1))
x2q = st.builds(Candidate, queries, st.just("x2q"), st.floats(0, 1.2), st.sampled_from(["item:a", "item:b"]))
candidates = st.lists(u2q | x2q, max_size=30)
ks = st.integers(1, 12)


def _merge(given_candidates: Sequence[Candidate], *arguments: Any, **options: Any) -> list[Candidate]:
    """Merge what sources propose, each candidate by itself."""
    return merge([proposal(one) for one in given_candidates], *arguments, **options)


@given(candidates, ks, QUERIES)
def test_what_merge_promises(given_candidates: list[Candidate], k: int, exclude: list[str]) -> None:
    """Its whole docstring, on any input."""
    chosen = _merge(given_candidates, k, exclude)
    assert len(chosen) <= k
    keys = [near_key(one.query) for one in chosen]
    assert len(set(keys)) == len(keys)
    assert set(keys).isdisjoint(near_key(query) for query in exclude)
    assert {normalise(one.query) for one in chosen}.isdisjoint(map(normalise, exclude))
    assert all(reject_reason(one.query) is None for one in chosen)
    proposed = {(one.query, one.source, one.trigger) for one in given_candidates}
    assert all((one.query, one.source, one.trigger) in proposed for one in chosen)


@given(candidates, ks, QUERIES)
def test_merge_fills_what_can_be_filled(given_candidates: list[Candidate], k: int, exclude: list[str]) -> None:
    """The list is short only if nothing else may be shown."""
    blocked = {near_key(query) for query in exclude}
    possible = {near_key(c.query) for c in given_candidates if reject_reason(c.query) is None} - blocked
    assert len(_merge(given_candidates, k, exclude)) == min(k, len(possible))


@given(st.lists(u2q, max_size=30), ks)
def test_a_source_counts_once(given_candidates: list[Candidate], k: int) -> None:
    """Proposed twice by one source, a query has the better of the two scores."""
    for one in _merge(given_candidates, k, []):
        assert one.score == max(c.score for c in given_candidates if near_key(c.query) == near_key(one.query)
                                and reject_reason(c.query) is None)  # fmt: skip


def test_sources_that_agree_add_up() -> None:
    """What two propose comes before what one likes better, under the name of the one that gave most."""
    given_candidates = [
        Candidate("lamp", "u2q", 1.0),
        Candidate("tent", "u2q", 0.6),
        Candidate("tents", "co_click", 0.7, "query:stove"),
        Candidate("tent", "popular", 0.05),
    ]
    first, second = _merge(given_candidates, 10, [])
    assert (first.query, first.source, first.trigger) == ("tents", "co_click", "query:stove")
    assert math.isclose(first.score, 1.35)
    assert second.query == "lamp"


def test_what_was_ranked_keeps_its_order() -> None:
    """A list that was ranked among all sources has weighed what co-click says; a trigger that is news still leads."""
    ranked = [Candidate("tent", "u2q", ranked_score(0)), Candidate("stove", "u2q", ranked_score(1))]
    agreeing = Candidate("stove", "co_click", 1.0, "item:a")
    assert [one.query for one in _merge([*ranked, agreeing], 2, [])] == ["tent", "stove"]
    news = Candidate("stove", "x2q", 1.2 * ranked_score(0), "item:a")
    assert [one.query for one in _merge([*ranked, news], 2, [])] == ["stove", "tent"]


def test_a_list_is_weighed_when_it_is_merged() -> None:
    """It is kept once, whatever it weighs for a shopper; what must not be shown is told with its reason."""
    kept = rows([("tent", 0.5), ("<b>", 0.4), ("lamp", 0.3)])
    reasons: list[tuple[Candidate, str]] = []
    proposals = [Proposal("x2q", kept, 0.5, "item:a"), Proposal("popular", kept[:1], 0.1)]
    shown = merge(proposals, 10, [], dropped=lambda *told: reasons.append(told))
    assert shown[0] == Candidate("tent", "x2q", 0.25 + 0.05, "item:a")
    assert shown[1] == Candidate("lamp", "x2q", 0.15, "item:a")
    assert (Candidate("<b>", "x2q", 0.2, "item:a"), "markup") in reasons


@given(candidates, ks)
def test_order_and_quota(given_candidates: list[Candidate], k: int) -> None:
    """Best first; a trigger over its share comes last, and only where nothing else was left."""
    chosen = _merge(given_candidates, k, [])
    quota = max(1, math.ceil(k * TRIGGER_SHARE))
    seen: Counter[str] = Counter()
    within, over = [], []
    for one in chosen:
        seen[one.trigger or ""] += 1
        (over if one.trigger and seen[one.trigger] > quota else within).append(one.score)
    assert [*within, *over] == [one.score for one in chosen]
    assert within == sorted(within, reverse=True)
    assert over == sorted(over, reverse=True)


@given(candidates, ks, st.randoms(use_true_random=False))
def test_the_order_of_sources_does_not_matter(given_candidates: list[Candidate], k: int, random: st.DrawFn) -> None:
    """Candidates with scores of their own give the same list in any order."""
    distinct = list({c.score: c for c in given_candidates}.values())
    shuffled = list(distinct)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert _merge(shuffled, k, []) == _merge(distinct, k, [])


def test_quota_holds_while_others_are_left() -> None:
    """A click on a tent does not make all hints about tents."""
    tents = [Candidate(f"tent {word}", "x2q", 1.2, "item:a") for word in "abcdefgh"]
    others = [Candidate(f"lamp {word}", "popular", 0.01) for word in "abcdefgh"]
    assert sum(one.trigger == "item:a" for one in _merge([*tents, *others], 10, [])) == 4
    assert len(_merge(tents, 10, [])) == 8


def test_a_query_held_back_by_the_quota_can_come_from_another_source() -> None:
    """The quota holds a trigger back, not the query."""
    shown = _merge(
        [
            Candidate("tent", "x2q", 0.9, "item:a"),
            Candidate("stove", "x2q", 0.8, "item:a"),
            Candidate("stove", "popular", 0.1),
        ],
        2,
        [],
    )
    assert [(hint.query, hint.source) for hint in shown] == [("tent", "x2q"), ("stove", "popular")]


def test_weights_say_who_leads() -> None:
    """A fresh trigger before the shopper's list, an old one after it, popular last."""
    assert trigger_weight(0, fresh=True) > WEIGHT_U2Q > trigger_weight(0, fresh=False) > BY_HAND.popular
    assert trigger_weight(1, fresh=True) < trigger_weight(0, fresh=True)
    assert rank_score(0) == 1.0
    assert all(rank_score(rank) > rank_score(rank + 1) > 0 for rank in range(20))


def test_recent_searches() -> None:
    """What was searched or chosen as a hint; items are no queries."""
    assert recent_searches([("search", "a"), ("click", "b"), ("hint_click", "c"), ("cart", "d")]) == ["a", "c"]


@given(candidates, ks, QUERIES, st.integers(0, 12))
def test_a_pool_comes_after_the_list(given_candidates: list[Candidate], k: int, exclude: list[str], pool: int) -> None:
    """The list is the same; what follows may be shown too, and is in no slot."""
    both = _merge(given_candidates, k, exclude, pool=pool)
    assert both[:k] == _merge(given_candidates, k, exclude)
    assert len(both) <= k + pool
    keys = [near_key(one.query) for one in both]
    assert len(set(keys)) == len(keys)
    assert set(keys).isdisjoint(near_key(query) for query in exclude)


@given(candidates, ks, QUERIES)
def test_every_query_is_shown_or_accounted_for(given_candidates: list[Candidate], k: int, exclude: list[str]) -> None:
    """Listening changes nothing, and each proposed query is there or has a reason."""
    reasons: dict[str, str] = {}
    shown = _merge(given_candidates, k, exclude, dropped=lambda one, why: reasons.setdefault(near_key(one.query), why))
    assert shown == _merge(given_candidates, k, exclude)
    accounted = {near_key(one.query) for one in shown} | reasons.keys()
    assert {near_key(one.query) for one in given_candidates} <= accounted


@given(st.lists(st.lists(u2q | x2q, max_size=6), max_size=6), ks, QUERIES, QUERIES)
def test_each_row_is_told_once(lists: list[list[Candidate]], k: int, exclude: list[str], seen: list[str]) -> None:
    """Shown or with a reason, what was folded into a sum too: where from, and nothing twice."""
    told: list[Candidate] = []
    given_candidates = [one for some in lists for one in some]
    shown = _merge(given_candidates, k, exclude, tired=set(seen), dropped=lambda one, _: told.append(one))
    assert Counter((one.query, one.source, one.trigger) for one in [*shown, *told]) == Counter(
        (one.query, one.source, one.trigger) for one in given_candidates
    )


def test_what_is_folded_into_a_sum_is_told() -> None:
    """With its own score; what stays beside the sum for the quota's sake is a duplicate of it."""
    reasons: list[tuple[Candidate, str]] = []
    tent, tents = Candidate("tent", "u2q", 0.6), Candidate("tents", "u2q", 0.5)
    popular, clicked = Candidate("tent", "popular", 0.05), Candidate("tent", "x2q", 0.7, "item:a")
    _merge([tent, tents, popular], 2, [], dropped=lambda *told: reasons.append(told))
    assert sorted(reasons) == [(popular, "merged"), (tents, "merged")]
    reasons.clear()
    _merge([tent, tents, clicked], 2, [], dropped=lambda *told: reasons.append(told))
    assert sorted(reasons) == [(tent, "duplicate"), (tents, "merged")]


@given(candidates, ks, QUERIES, QUERIES)
def test_what_tires_comes_last(given_candidates: list[Candidate], k: int, exclude: list[str], seen: list[str]) -> None:
    """It is shown only where nothing else is left, so fatigue makes no list shorter, and each one is accounted for."""
    tired = {near_key(query) for query in seen}
    reasons: dict[str, str] = {}
    shown = [near_key(one.query) for one in _merge(given_candidates, k, exclude, tired=tired)]
    assert len(shown) == len(_merge(given_candidates, k, exclude))
    fresh = [key for key in shown if key not in tired]
    assert shown[: len(fresh)] == fresh
    if len(fresh) < len(shown):
        assert not {near_key(one.query) for one in _merge(given_candidates, 50, exclude)} - tired - set(fresh)
    _merge(
        given_candidates, k, exclude, tired=tired, dropped=lambda one, why: reasons.setdefault(near_key(one.query), why)
    )
    assert {near_key(one.query) for one in given_candidates} <= set(shown) | reasons.keys()


def test_a_tired_hint_gives_way_even_to_what_the_quota_held_back() -> None:
    """One trigger too many is better than what nobody clicks."""
    lead = [Candidate(f"tent {name}", "x2q", 0.9, "item:a") for name in ("peg", "pole", "rope")]
    shown = _merge([Candidate("lamp", "u2q", 1.0), *lead], 3, [], tired={"lamp"})
    assert [hint.query for hint in shown] == [one.query for one in lead]


@given(candidates, ks, st.floats(0.1, 1))
def test_a_category_has_its_share_while_others_are_left(
    given_candidates: list[Candidate], k: int, share: float
) -> None:
    """By first letters here; what is over the share comes last, and makes no list shorter."""
    shown = _merge(given_candidates, k, [], category=lambda query: query[:1], category_share=share, trigger_share=1.0)
    assert len(shown) == len(_merge(given_candidates, k, [], trigger_share=1.0))
    quota = max(1, math.ceil(k * share))
    over = [n for n, one in enumerate(shown) if sum(o.query[:1] == one.query[:1] for o in shown[: n + 1]) > quota]
    assert share == 1 or over == list(range(len(shown) - len(over), len(shown)))


sourced = st.builds(Candidate, queries, st.sampled_from(["u2q", "co_click", "popular"]), st.floats(0, 1))


@given(st.lists(sourced, max_size=30), ks, st.floats(0.1, 1))
def test_a_source_has_its_share_while_others_are_left(given_candidates: list[Candidate], k: int, share: float) -> None:
    """What is over the share comes last, makes no list shorter, and only where no other source has anything."""
    shown = _merge(given_candidates, k, [], source_share=share)
    assert len(shown) == len(_merge(given_candidates, k, []))
    quota = max(1, math.ceil(k * share))
    over = [n for n, one in enumerate(shown) if sum(o.source == one.source for o in shown[: n + 1]) > quota]
    assert share == 1 or over == list(range(len(shown) - len(over), len(shown)))
    if share < 1 and over:
        used = Counter(one.source for one in shown)
        sound = [one for one in given_candidates if reject_reason(one.query) is None]
        left = {near_key(one.query) for one in sound if used[one.source] < quota}
        assert left <= {near_key(one.query) for one in shown}


def test_a_source_over_its_share_is_told_and_its_query_can_come_from_another() -> None:
    """The quota holds a source back, not the query."""
    lists = [Candidate("tent", "u2q", 0.9), Candidate("stove", "u2q", 0.8), Candidate("lamp", "u2q", 0.7)]
    reasons: dict[str, str] = {}
    shown = _merge(
        [*lists, Candidate("stove", "popular", 0.1), Candidate("boots", "popular", 0.05)],
        2,
        [],
        source_share=0.5,
        dropped=lambda one, why: reasons.update({f"{one.query} {one.source}": why}),
    )
    assert [(hint.query, hint.source) for hint in shown] == [("tent", "u2q"), ("stove", "popular")]
    assert reasons == {
        "stove u2q": "source_quota", "lamp u2q": "source_quota", "boots popular": "surplus",
    }  # fmt: skip
