"""The order of a label, over any history: clicked > searched > ranked; and what may be in it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from service.contracts.text import near_key
from service.ranking.shopper_context import ShopperContext
from service.ranking.shortlist import distinct
from workers.common.list_parser import LIST_SIZE
from workers.training.counts import Production
from workers.training.labels import SEARCHED, label
from workers.training.sessions import Act, History, moments, visits

QUERIES = (
    "tent",
    "tents",
    "stove",
    "lamp",
    "camping stove",
    "red shoes",
    "shoes red",
    "rope",
    "mat",
    "cup",
    "hat",
    "bag",
)
PERIOD = (0.0, 2000.0)
_ACTS = st.lists(
    st.tuples(st.sampled_from(("search", "hint_click", "click")), st.sampled_from(QUERIES), st.floats(0, 300)),
    min_size=1,
    max_size=25,
)


class InOrder:
    """Ranks as told, whatever the shopper did."""

    def __init__(self, production: Production, order: Sequence[str]) -> None:
        self.counts = production.counts
        self._order = order

    def chances(self, context: ShopperContext) -> dict[str, float]:
        """See `NextSearch.chances`."""
        del context
        return {query: 1.0 / place for place, query in enumerate(self._order, start=1)}


def history(acts: Sequence[tuple[str, str, float]]) -> History:
    """Return acts, each some seconds after the one before."""
    ts = np.cumsum([gap for _, _, gap in acts]).tolist()
    return History(
        "u1",
        {"segment": "campers"},
        [
            Act(at, kind, None if kind == "click" else ref, "item" if kind == "click" else None)
            for (kind, ref, _), at in zip(acts, ts, strict=True)
        ],
    )


def production(*histories: History, min_shoppers: int = 1) -> Production:
    """Return counts over histories."""
    return Production(histories, {"item": "Outdoors > Tents"}, min_shoppers)


@given(_ACTS, st.permutations(QUERIES), st.integers(0, 2**32 - 1))
def test_what_comes_leads_and_the_rest_keeps_its_rank(
    acts: list[tuple[str, str, float]], order: list[str], seed: int
) -> None:
    """The clicked hint is first, then what is searched in its order, then the ranked; no two alike, K at most."""
    one = history(acts)
    ranker: Any = InOrder(production(one), order)
    for moment in moments(one, 6, 7.0, PERIOD, np.random.default_rng(seed)):
        found = label(moment, ShopperContext(moment.now), ranker)
        searched = [act.query for act in moment.after if act.query is not None]
        coming = distinct(searched[: SEARCHED + moment.hinted], LIST_SIZE)
        assert found[: len(coming)] == coming
        if moment.hinted:
            assert found[0] == moment.after[0].query
        places = [order.index(query) for query in found[len(coming) :]]
        assert places == sorted(places)
        assert len(found) <= LIST_SIZE
        assert len({near_key(query) for query in found}) == len(found)


@given(_ACTS, st.integers(0, 2**32 - 1))
def test_a_moment_knows_nothing_of_what_comes(acts: list[tuple[str, str, float]], seed: int) -> None:
    """`before` and `after` never overlap, in time order, and every visit is within the period."""
    one = history(acts)
    for moment in moments(one, 6, 7.0, PERIOD, np.random.default_rng(seed)):
        assert [*moment.before, *moment.after] == list(one.acts[: len(moment.before) + len(moment.after)])
        assert all(act.ts <= moment.now for act in moment.before)
    for visit in visits(one, 6, PERIOD, np.random.default_rng(seed)):
        assert PERIOD[0] <= visit.now <= PERIOD[1]
        assert all(act.ts >= visit.now for act in visit.after)


@given(st.lists(_ACTS, min_size=1, max_size=5), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_a_rare_query_is_in_no_label(people: list[list[tuple[str, str, float]]], floor: int, seed: int) -> None:
    """k-anonymity: what fewer than `floor` shoppers searched is not told to others, whatever the ranker says."""
    known = [history(acts) for acts in people]
    counts = production(*known, min_shoppers=floor)
    ranker: Any = InOrder(counts, list(counts.popularity))
    for one in known:
        for moment in moments(one, 4, 7.0, PERIOD, np.random.default_rng(seed)):
            for query in label(moment, ShopperContext(moment.now), ranker):
                assert sum(any(act.query == query for act in other.acts) for other in known) >= floor


def test_own_queries_leave_room_for_new_ones() -> None:
    """Serving drops what was just searched, so of the shopper's own queries only the best four are ranked in."""
    one = history([("search", query, 10.0) for query in ("rope", "mat", "cup", "hat", "bag", "lamp")])
    other = history([("search", query, 10.0) for query in ("tent", "stove")])
    ranker: Any = InOrder(production(one, other), ["rope", "mat", "cup", "hat", "bag", "tent", "stove"])
    *_, last = sorted(moments(one, 12, 7.0, PERIOD, np.random.default_rng(1)), key=lambda moment: len(moment.before))
    assert [act.query for act in last.after] == ["lamp"]
    assert label(last, ShopperContext(last.now), ranker) == ["lamp", "rope", "mat", "cup", "hat", "tent", "stove"]


def test_own_rare_queries_are_ranked_and_not_learned() -> None:
    """The ranker may propose what only this shopper searched; a model that learned it could say it to others."""
    one = history([("search", query, 10.0) for query in ("my own words", "tent", "lamp")])
    counts = production(one, history([("search", query, 10.0) for query in ("tent", "lamp")]), min_shoppers=2)
    ranker: Any = InOrder(counts, ["my own words", "tent"])
    *_, last = sorted(moments(one, 12, 7.0, PERIOD, np.random.default_rng(1)), key=lambda moment: len(moment.before))
    assert label(last, ShopperContext(last.now), ranker) == ["lamp", "tent"]


def test_nothing_known_ahead_is_no_label() -> None:
    """A moment after which nothing known was searched teaches nothing."""
    one = history([("search", "tent", 1.0), ("search", "my own words", 10.0)])
    counts = production(one, history([("search", "tent", 1.0)]), min_shoppers=2)
    ranker: Any = InOrder(counts, ["tent"])
    found = [
        label(moment, ShopperContext(moment.now), ranker)
        for moment in visits(one, 9, (5.0, 9.0), np.random.default_rng(1))
    ]
    assert found
    assert not any(found)
