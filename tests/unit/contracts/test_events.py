"""Events: times, identifiers and texts are checked at the door."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from service.contracts.events import EVENT, parse_timestamp
from tests.support import ANY_TEXT

SEARCH = {"user_id": "u1", "type": "search", "query": "tent", "ts": 1000}
CLICK = {"user_id": "u1", "type": "click", "item_id": "i1", "ts": 1000}
EXPOSURE = {
    "user_id": "u1", "type": "hint_exposure", "query": "tent", "request_id": "r", "position": 0, "ts": 1000,
}  # fmt: skip


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (1_700_000_000, 1_700_000_000.0),
        (0, 0.0),
        ("1970-01-01T00:00:10Z", 10.0),
        ("1970-01-01T01:00:10+01:00", 10.0),
        ("1970-01-01T00:00:10", 10.0),
        ("1970-01-01T00:00:10.250Z", 10.25),
    ],
)
def test_times(value: object, seconds: float) -> None:
    """Epoch seconds, or RFC 3339; without offset it is UTC."""
    assert parse_timestamp(value) == seconds


@pytest.mark.parametrize(
    "value",
    [True, None, [], -1, 1e12, 10**400, float("nan"), float("inf"), "", "yesterday", "2026-13-01T00:00:00Z", "\ud800"],
)
def test_what_is_no_time(value: object) -> None:
    """Refused with a sentence; milliseconds are recognised as such."""
    with pytest.raises(ValueError, match="ts"):
        parse_timestamp(value)


@given(st.integers() | st.floats() | ANY_TEXT | st.none() | st.lists(st.integers()))
def test_any_time_parses_or_is_a_value_error(value: object) -> None:
    """Whatever a front end sends."""
    try:
        assert isinstance(parse_timestamp(value), float)
    except ValueError as error:
        assert str(error).startswith("ts ")  # noqa: PT017


@given(ANY_TEXT)
def test_a_query_is_kept_clean_or_refused(query: str) -> None:
    """What reaches Redis can be encoded and shown."""
    try:
        event = EVENT.validate_python({**SEARCH, "query": query})
    except ValidationError:
        return
    entry = event.behaviour()
    assert entry is not None
    assert 1 <= len(entry.ref) <= 200
    assert entry.ref.encode("utf-8").decode().isprintable()


@given(ANY_TEXT)
def test_an_identifier_is_kept_as_it_is_or_refused(user_id: str) -> None:
    """Identifiers are never changed: two shoppers must not become one."""
    try:
        event = EVENT.validate_python({**SEARCH, "user_id": user_id})
    except ValidationError:
        return
    assert event.user_id == user_id
    assert user_id.isprintable()
    assert user_id == user_id.strip()


@pytest.mark.parametrize(
    "change",
    [
        {"type": "look"}, {"type": None}, {"type": ["search"]}, {"user_id": ""}, {"user_id": 5}, {"user_id": "a\x00"},
        {"user_id": "x" * 129}, {"query": ""}, {"query": "\x00"}, {"query": "x" * 201}, {"query": "x" * 10_000},
        {"query": 7}, {"item_id": "i"}, {"extra": 1}, {"ts": "soon"}, {"session_id": ""},
    ],
)  # fmt: skip
def test_bad_searches(change: dict[str, object]) -> None:
    """Each of these is refused, not repaired."""
    with pytest.raises(ValidationError):
        EVENT.validate_python({**SEARCH, **change})


@pytest.mark.parametrize(
    "change",
    [
        {"price": -1},
        {"price": float("nan")},
        {"price": float("inf")},
        {"quantity": 0},
        {"quantity": 10**9},
        {"item_id": ""},
    ],
)
def test_bad_clicks(change: dict[str, object]) -> None:
    """Figures must be possible."""
    with pytest.raises(ValidationError):
        EVENT.validate_python({**CLICK, **change})


@pytest.mark.parametrize("change", [{"position": -1}, {"position": 100}, {"request_id": None}])
def test_bad_exposures(change: dict[str, object]) -> None:
    """Training joins on the request id and position, so both must be there."""
    with pytest.raises(ValidationError):
        EVENT.validate_python({**EXPOSURE, **change})


def test_what_behaviour_keeps() -> None:
    """A search its query, a click its item, a hint click its query, an exposure nothing."""
    assert EVENT.validate_python(SEARCH).behaviour().ref == "tent"  # type: ignore[union-attr]
    assert EVENT.validate_python(CLICK).behaviour().ref == "i1"  # type: ignore[union-attr]
    assert EVENT.validate_python({**EXPOSURE, "type": "hint_click"}).behaviour().ref == "tent"  # type: ignore[union-attr]
    assert EVENT.validate_python(EXPOSURE).behaviour() is None


def test_every_event_has_an_id() -> None:
    """Logs drop duplicates by it, so the service gives one where the front end did not."""
    one, other = EVENT.validate_python(SEARCH), EVENT.validate_python(SEARCH)
    assert one.event_id != other.event_id
    assert EVENT.validate_python({**SEARCH, "event_id": "e1"}).event_id == "e1"
