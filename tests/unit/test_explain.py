"""Explanations: every row once, with the weight and the score that it had."""

from typing import Any

from service.explain import Explainer
from service.ranking.candidates import LiveTrigger
from service.ranking.merge import Proposal, merge, rows

TRIGGERS = [LiveTrigger(("item:a", "category:tents"), 100.0), LiveTrigger(("item:b", "category:tents"), 90.0)]


class _Shop:
    """A catalogue in which all is found, thrice, and is about the first word."""

    def query_category(self, query: str) -> str:
        """Return the first word."""
        return query.split(maxsplit=1)[0]

    def count(self, query: str, limit: int) -> int:
        """Return three."""
        del query
        return min(3, limit)


def _told(proposals: list[Proposal], k: int, seen: dict[str, int] | None = None) -> list[dict[str, Any]]:
    shop: Any = _Shop()
    explainer = Explainer(proposals, TRIGGERS, seen, shop, {})
    ranked = merge(proposals, k, [], pool=1, dropped=explainer.drop)
    told = explainer.told(ranked[:k], ranked, [1.0] * k)
    candidates: list[dict[str, Any]] = told["candidates"]
    assert len(candidates) == sum(len(proposal.rows) for proposal in proposals)
    return candidates


def test_a_sum_goes_by_the_row_that_gave_most_and_the_others_are_told() -> None:
    """Two items of one category lead to its list twice: each row has its own weight."""
    of_category = rows([("tent pole", 1.0), ("tarp", 0.5)])
    proposals = [
        Proposal("x2q", of_category, 0.2, "category:tents"),
        Proposal("x2q", of_category, 0.14, "category:tents"),
        Proposal("popular", rows([("lamp", 0.9), ("tent poles", 0.8)]), 0.05),
    ]
    told = _told(proposals, 2, {"lamp": 3})
    of_pole = [one for one in told if one["query"].startswith("tent")]
    assert [(one["dropped"], one["score"], one["features"]["weight"]) for one in of_pole] == [
        (None, 0.24, 0.2), ("merged", 0.14, 0.14), ("duplicate", 0.04, 0.05),
    ]  # fmt: skip
    assert [one["into"] for one in of_pole] == [None, "tent pole", "tent pole"]
    assert [one["features"]["rank"] for one in of_pole] == [0, 0, 1]
    assert {one["query"] for one in told if one["features"]["seen"]} == {"lamp"}
    lamp = next(one for one in told if one["query"] == "lamp")
    assert (lamp["dropped"], lamp["features"]["trigger_age_s"], lamp["features"]["seen"]) == (None, None, 3)
    assert [one["dropped"] for one in told if one["query"] == "tarp"] == ["surplus", "merged"]
    assert (lamp["features"]["category"], lamp["features"]["finds"]) == ("lamp", 3)


def test_what_redis_did_not_say_is_told_as_unknown() -> None:
    """Not as never seen."""
    (one,) = _told([Proposal("u2q", rows([("tent", 1.0)]), 1.0)], 2)
    assert one["features"]["seen"] is None
