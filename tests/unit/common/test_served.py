"""Clicks on hints are believed as far as the server's own lines go."""

from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from workers.common.dataset import EVENT_SCHEMA
from workers.common.served import clicks_borne_out, served_slots

SERVED = {"user_id": "u1", "ts": 1.0, "type": "hint_served", "request_id": "r1", "queries": ["tent", "lamp"]}
CLICK = {"user_id": "u1", "ts": 2.0, "type": "hint_click", "request_id": "r1", "position": 1, "query": "lamp"}
SEARCH = {"user_id": "u1", "ts": 3.0, "type": "search", "request_id": "r9", "position": 7, "query": "mug"}


def log(*lines: dict[str, Any]) -> pl.LazyFrame:
    """Return a log of these lines."""
    return pl.DataFrame(pl.from_arrow(pa.Table.from_pylist(list(lines), EVENT_SCHEMA))).lazy()


def queries(*lines: dict[str, Any]) -> list[tuple[str, str]]:
    """Return type and query of what is left, but for what was served."""
    found = clicks_borne_out(log(*lines)).collect()
    assert found.columns == log().collect().columns
    return [row for row in found.select("type", "query").iter_rows() if row[0] != "hint_served"]


@pytest.mark.parametrize("claim", [{"user_id": "u2"}, {"request_id": "r2"}, {"request_id": None}, {"position": 2}])
def test_a_click_that_was_never_served_is_none(claim: dict[str, Any]) -> None:
    """Of another shopper, another request, or a slot that the list had not; all else stays, in order."""
    assert queries(SERVED, CLICK, {**CLICK, **claim}, SEARCH) == [("hint_click", "lamp"), ("search", "mug")]


def test_a_click_means_what_was_served() -> None:
    """The slot's query, whatever the client calls it; a search's words are the shopper's own."""
    claimed = {**CLICK, "query": "buy my brand"}
    slot_of_a_search = {**SEARCH, "request_id": "r1", "position": 0}
    assert queries(SERVED, claimed, slot_of_a_search) == [("hint_click", "lamp"), ("search", "mug")]


def test_logs_without_served_lines_keep_their_clicks() -> None:
    """As most imports are; an empty served list is no such line."""
    assert queries(CLICK, SEARCH) == [("hint_click", "lamp"), ("search", "mug")]
    assert queries({**SERVED, "queries": []}, CLICK) == [("hint_click", "lamp")]


def test_served_slots_are_numbered_and_counted_once() -> None:
    """A request is what its first line says; a list of propensities of another length says nothing."""
    again = {**SERVED, "queries": ["mug"], "propensity": [0.5]}
    other = {**SERVED, "request_id": "r2", "queries": ["rope"], "propensity": [0.4]}
    found = served_slots(log({**SERVED, "propensity": [0.9]}, again, other)).sort("request_id", "position")
    assert found.select("request_id", "position", "query", "propensity").rows() == [
        ("r1", 0, "tent", None), ("r1", 1, "lamp", None), ("r2", 0, "rope", 0.4),
    ]  # fmt: skip
