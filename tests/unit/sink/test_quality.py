"""What the sink tells of hints: clicks by the source that found them, and how concentrated hints are."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from workers.sink.quality import Quality, hhi, top_share

COUNTS = st.lists(st.integers(1, 1000), min_size=1, max_size=50)


def served(request_id: str, *pairs: tuple[str, str], arm: str = "control") -> dict[str, Any]:
    """Return a served list's line, from (query, source)."""
    queries, sources = zip(*pairs, strict=True)
    line = {"type": "hint_served", "request_id": request_id, "queries": list(queries), "sources": list(sources)}
    return {**line, "arm": arm}


def feedback(kind: str, request_id: str, query: str) -> dict[str, Any]:
    """Return what a front end reports."""
    return {"type": kind, "request_id": request_id, "query": query}


def counted(**labels: str) -> float:
    """Return the counter."""
    return REGISTRY.get_sample_value("aigq_hint_feedback_total", labels) or 0.0


def test_a_click_counts_for_the_source_that_found_the_query() -> None:
    """Also if it is logged before the list, which waits a moment in its buffer."""
    quality = Quality(lambda _: None)
    before = counted(action="clicked", source="x2q", arm="control")
    quality.take([feedback("hint_click", "r1", "tent"), served("r1", ("lamp", "u2q"), ("tent", "x2q"))])
    assert counted(action="clicked", source="x2q", arm="control") == before + 1


def test_a_list_is_remembered_for_later_parts() -> None:
    """A shopper looks for a while before clicking."""
    quality = Quality(lambda _: None)
    before = counted(action="seen", source="u2q", arm="treatment")
    quality.take([served("r2", ("lamp", "u2q"), arm="treatment")])
    quality.take([feedback("hint_exposure", "r2", "lamp")])
    assert counted(action="seen", source="u2q", arm="treatment") == before + 1


def test_feedback_on_what_was_never_served_is_told_apart() -> None:
    """Another request's id, or a query that was not in the list."""
    quality = Quality(lambda _: None)
    before = counted(action="clicked", source="unknown", arm="unknown")
    quality.take([served("r3", ("lamp", "u2q")), feedback("hint_click", "other", "lamp")])
    assert counted(action="clicked", source="unknown", arm="unknown") == before + 1


def test_concentration_by_query_and_category() -> None:
    """Four hints, three of them the same, all of one category."""
    Quality({"lamp": "Home", "tent": "Home"}.get).take([served("r4", *[("lamp", "u2q")] * 3, ("tent", "x2q"))])
    assert REGISTRY.get_sample_value("aigq_exposure_query_hhi") == pytest.approx(10 / 16)
    assert REGISTRY.get_sample_value("aigq_exposure_category_hhi") == 1
    assert REGISTRY.get_sample_value("aigq_exposure_top_share") == pytest.approx(3 / 4)


@given(COUNTS)
def test_concentration_is_between_even_and_one(counts: list[int]) -> None:
    """And `top_share` never falls as more things count as the top."""
    assert 1 / len(counts) - 1e-9 <= hhi(counts) <= 1 + 1e-9
    shares = [top_share(counts, top / 10) for top in range(1, 11)]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)
