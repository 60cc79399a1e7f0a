"""Baselines find what is there to be found, in logs in which it is known; and tuning chooses honestly."""

from collections.abc import Sequence

import pytest

from tests.unit.evaluation.shops import CUT, DAY, JOURNEYS
from workers.evaluation.baselines import NAMES, tuned_baselines
from workers.evaluation.cases import Act, Case, Item, Shopper, Split
from workers.evaluation.co_click import CoClick, follows
from workers.evaluation.methods import Lists, Params, Tuned, first_distinct, top, tune
from workers.evaluation.metrics import hit_rate
from workers.evaluation.popular import Popular, PopularBySegment
from workers.evaluation.repeat import Repeat

NEXT = {journey[0]: journey[1] for journey in JOURNEYS}


def _searches(*queries: str, start: float = 10.0) -> list[Act]:
    """Return searches a day apart, from day `start` before the cut-off on."""
    return [Act("search", CUT - (start - step) * DAY, query) for step, query in enumerate(queries)]


def _split(*histories: Sequence[str], profiles: Sequence[str] = ()) -> Split:
    learners = [
        Shopper(f"u{n}", {"segment": profiles[n]} if profiles else {}, _searches(*queries))
        for n, queries in enumerate(histories)
    ]
    return Split(now=CUT, learners=learners, validation=[], test=[], items={})


def _case(*queries: str, targets: Sequence[str] = ("x",), segment: str = "") -> Case:
    return Case("c", {"segment": segment}, _searches(*queries), targets)


@pytest.fixture(scope="module")
def tuned(split: Split) -> dict[str, Tuned]:
    """Return all baselines, tuned on the shop of journeys."""
    return {one.name: one for one in tuned_baselines(split, seed=7, advance=lambda _name, _total: None)}


def test_all_baselines_are_there(tuned: dict[str, Tuned]) -> None:
    """Under the names that the report promises."""
    assert tuple(tuned) == NAMES
    asked = {"popular", "popular_segment", "repeat", "co_click", "repeat+co_click", "als", "bm25_cf", "bm25_text"}
    assert asked | {"embedding"} == set(NAMES)


@pytest.mark.parametrize("name", ["co_click", "repeat+co_click", "als", "bm25_cf", "embedding"])
def test_collaborative_baselines_know_what_follows(tuned: dict[str, Tuned], split: Split, name: str) -> None:
    """Of two thousand things they put the next step of the journey among the first two new ones."""
    warm = [case for case in split.test if case.history]
    lists = tuned[name].suggest(warm, novel=True)
    for case, suggested in zip(warm, lists, strict=True):
        assert NEXT[case.history[0].ref] in suggested[:2]
        assert case.history[0].ref not in suggested


@pytest.mark.parametrize("name", NAMES)
def test_every_baseline_keeps_the_rules(tuned: dict[str, Tuned], split: Split, name: str) -> None:
    """Distinct queries, at most k, for cold shoppers too; nothing of one's own for novel targets; deterministic."""
    for novel in (False, True):
        lists = tuned[name].suggest(split.test, 6, novel=novel)
        assert lists == tuned[name].suggest(split.test, 6, novel=novel)
        for case, suggested in zip(split.test, lists, strict=True):
            assert 0 < len(suggested) <= 6
            assert len(set(suggested)) == len(suggested)
            assert not novel or not set(suggested) & set(case.searched)


def test_factorisations_are_the_same_in_another_run(tuned: dict[str, Tuned], split: Split) -> None:
    """The seed decides."""
    again = {one.name: one for one in tuned_baselines(split, seed=7, advance=lambda _name, _total: None)}
    for name in NAMES:
        assert (again[name].params, again[name].novel_params) == (tuned[name].params, tuned[name].novel_params)
        assert again[name].suggest(split.test) == tuned[name].suggest(split.test)


def test_popular_counts_shoppers_not_searches() -> None:
    """One shopper who asks ten times is one; a query of two shoppers is nobody else's business."""
    split = _split(*[["tent"]] * 4, *[["lamp"] * 10] * 3, ["mug"], ["mug"])
    assert Popular(split).rank([_case()], {"days": None}) == [["tent", "lamp"]]


def test_popular_by_segment_follows_the_segment_and_falls_back_to_everyone() -> None:
    """Whoever is of no known segment gets what everyone searches."""
    split = _split(*[["tent"]] * 4, *[["lamp"]] * 3, profiles=["camper"] * 4 + ["student"] * 3)
    cases = [_case(segment="student"), _case(segment="camper"), _case(segment="never heard of")]
    lists = PopularBySegment(split).rank(cases, {"fields": "segment", "days": None, "prior": 1.0})
    assert [one[0] for one in lists] == ["lamp", "tent", "tent"]


def test_repeat_puts_the_latest_first_or_the_most_frequent() -> None:
    """As the half-life says."""
    case = _case("lamp", "lamp", "lamp", "tent")
    assert Repeat(_split()).rank([case], {"half_life": 0.1}) == [["tent", "lamp"]]
    assert Repeat(_split()).rank([case], {"half_life": 100.0}) == [["lamp", "tent"]]


def test_what_follows_a_query_is_different_and_nearer_counts_more() -> None:
    """A repeated trigger does not follow itself."""
    found = list(follows(Shopper("u", {}, _searches("tent", "tent", "stove", "lamp")), 2))
    assert found[:2] == [("tent", "stove", 1.0), ("tent", "lamp", 0.9)]
    assert all(one != query for one, query, _ in found)


def test_co_click_widens_an_item_to_its_category() -> None:
    """An item that nobody clicked speaks through those of its category."""
    learners = [
        Shopper(f"u{n}", {}, [Act("click", CUT - 5 * DAY, "known"), Act("search", CUT - 4 * DAY, "stove")])
        for n in range(3)
    ]
    items = {name: Item(name, "Camping > Tents", "") for name in ("known", "new")}
    split = Split(now=CUT, learners=learners, validation=[], test=[], items=items)
    case = Case("c", {}, [Act("click", CUT - DAY, "new")], ("stove",))
    params = {"next": 5, "lift": 0.0, "fade": 0.7, "category": 0.3, "popular": 0.0}
    assert CoClick(split, lambda _: {}).rank([case], params) == [["stove"]]
    assert CoClick(split, lambda _: {}).rank([case], {**params, "category": 0.0}) == [[]]


class _Fixed:
    """A baseline that suggests what its parameter says."""

    name = "fixed"
    grid: Sequence[Params] = ({"say": "b"}, {"say": "a"}, {"say": "also a"})

    def rank(self, cases: Sequence[Case], params: Params) -> Lists:
        return [[str(params["say"]).removeprefix("also ")] for _ in cases]


def test_tuning_takes_the_best_and_of_equals_the_first() -> None:
    """For all targets and for novel ones separately."""
    mine = _case("a", targets=("a", "b"))
    found = tune(_Fixed(), [mine, _case(targets=("a",))], None)
    assert (found.params, found.validation[0]) == ({"say": "a"}, 1.0)
    assert (found.novel_params, found.validation[1]) == ({"say": "b"}, 0.5), "a is the first shopper's own"


def test_without_validation_the_first_of_the_grid_is_taken() -> None:
    """A small dataset is not an error."""
    assert tune(_Fixed(), [], None).params == {"say": "b"}


def test_fill_comes_after_what_the_baseline_knows() -> None:
    """And does not repeat it."""
    method = Tuned(_Fixed(), {"say": "a"}, {"say": "a"}, lambda cases, _: [["a", "p"] for _ in cases], (0.0, 0.0))
    assert method.suggest([_case()], 3) == [["a", "p"]]
    assert method.suggest([_case("a")], 3, novel=True) == [["p"]]


def test_ranking_helpers() -> None:
    """Equal scores keep the order of their text, so that a run says the same twice."""
    assert top({"b": 1.0, "a": 1.0, "c": 2.0}, 2) == ["c", "a"]
    assert first_distinct(["a", "b"], ["b", "c", "d"], limit=3, without={"a": None}) == ["b", "c", "d"]


def test_tuned_baselines_find_the_cold_too(tuned: dict[str, Tuned], split: Split) -> None:
    """Popular by segment knows where journeys begin, so every baseline does for shoppers without history."""
    cold = [case for case in split.test if not case.history]
    assert cold
    for name in NAMES[1:]:
        assert hit_rate(tuned[name].suggest(cold, 6), [case.targets for case in cold]) == 1.0
