"""Who belongs to which stratum."""

import pytest

from workers.evaluation.cases import Act, Case, Shopper, Split
from workers.evaluation.strata import bands, history_stratum, strata


def _case(events: int, *targets: str, locale: str = "en-US") -> Case:
    return Case("c", {"locale": locale}, [Act("click", float(n), "i") for n in range(events)], targets)


@pytest.mark.parametrize(("events", "name"), [(0, "cold"), (2, "cold"), (3, "warm"), (30, "warm"), (31, "heavy")])
def test_history(events: int, name: str) -> None:
    """Cold is two events or fewer."""
    assert history_stratum(_case(events, "x")) == name


def _split(*cases: Case) -> Split:
    counts = {"a": 4, "b": 4, "c": 2, "d": 1, "e": 1}
    learners = [
        Shopper(f"u{query}{n}", {}, [Act("search", 1.0, query)])
        for query, count in counts.items()
        for n in range(count)
    ]
    return Split(now=10.0, learners=learners, validation=[], test=cases, items={})


def test_bands_share_searches_not_queries() -> None:
    """Each third of all searches; what was never searched is tail."""
    assert bands(_split()) == {"a": "head", "b": "torso", "c": "tail", "d": "tail", "e": "tail"}


def test_a_case_is_in_each_band_in_which_it_has_a_target() -> None:
    """And there only that target counts."""
    case = _case(0, "a", "never seen", locale="zh-CN")
    kinds = strata(_split(case, _case(1, "b")))
    assert list(kinds["target"]["head"](case, case.targets)) == ["a"]
    assert list(kinds["target"]["tail"](case, case.targets)) == ["never seen"]
    assert not kinds["target"]["torso"](case, case.targets)
    assert list(kinds["locale"]) == ["en-US", "zh-CN"]
    assert not kinds["locale"]["en-US"](case, case.targets)
    assert list(kinds["history"]["cold"](case, case.targets)) == ["a", "never seen"]


def test_items_that_nobody_learned_from() -> None:
    """By the latest item of a shopper, whatever was searched since; who touched no item is in neither."""

    def case(*items: str) -> Case:
        acts = [Act("click", float(n), item) for n, item in enumerate(items)]
        return Case("c", {}, [*acts, Act("search", 9.0, "never")], ("a",))

    learner = Shopper("u", {}, [Act("cart", 1.0, "known"), Act("search", 2.0, "never")])
    kinds = strata(Split(now=10.0, learners=[learner], validation=[], test=[], items={}))["item"]
    for acts, place in ((("new", "known"), ["a"]), (("known", "new"), []), ((), [])):
        assert list(kinds["seen"](case(*acts), ("a",))) == place
    assert list(kinds["unseen"](case("known", "new"), ("a",))) == ["a"]
    assert not kinds["unseen"](case("new", "known"), ("a",))
    assert not kinds["unseen"](case(), ("a",))


def test_without_locales_there_are_no_strata_of_them() -> None:
    """A dataset need not have profiles."""
    assert "locale" not in strata(_split(Case("c", {}, [], ("a",))))
