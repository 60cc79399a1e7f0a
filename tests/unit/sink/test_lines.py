"""What is a log line, and what it becomes in a table."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.common.dataset import EVENT_SCHEMA
from workers.sink.lines import UnreadableEntry, identity, parse, to_table

LINE = {"user_id": "u1", "ts": 1.5, "type": "search", "query": "tent", "event_id": "e1"}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ([], "not_an_object"),
        ("text", "not_an_object"),
        ({"user_id": "u"}, "field_missing"),
        ({**LINE, "ts": None}, "field_missing"),
        ({**LINE, "ts": "yesterday"}, "field_type"),
        ({**LINE, "ts": True}, "field_type"),
        ({**LINE, "position": 1 << 40}, "field_type"),
        ({**LINE, "queries": "tent"}, "field_type"),
        ({**LINE, "query": {"a": 1}}, "field_type"),
        ({**LINE, "type": "page_view"}, "type_unknown"),
    ],
)
def test_what_is_no_log_line(content: object, reason: str) -> None:
    """A label for each reason, so that it can be counted."""
    with pytest.raises(UnreadableEntry, match=reason):
        parse({b"e": orjson.dumps(content)})


def test_entries_without_content() -> None:
    """Trimmed away, of another writer, or cut short."""
    for fields, reason in (({}, "trimmed"), ({b"x": b"1"}, "no_content"), ({b"e": b"{half"}, "not_json")):
        with pytest.raises(UnreadableEntry, match=reason):
            parse(fields)


@given(st.fixed_dictionaries({"ts": JSON}, optional={name: JSON for name in EVENT_SCHEMA.names if name != "ts"}))
def test_what_is_taken_can_be_written(fields: dict[str, object]) -> None:
    """No line that passes the check breaks a part, so no line blocks those behind it."""
    try:
        line = parse({b"e": orjson.dumps(LINE | fields, option=orjson.OPT_PASSTHROUGH_DATETIME)})
    except (UnreadableEntry, orjson.JSONEncodeError):
        return
    assert to_table([line]).schema == EVENT_SCHEMA


def test_a_whole_number_that_no_float_holds() -> None:
    """Rounded, not a reason to stop."""
    line = parse({b"e": orjson.dumps({**LINE, "ts": 2**60 + 1, "scores": [1, 2**60 + 1]})})
    assert to_table([line])["ts"].to_pylist() == [float(2**60)]


def test_copies_are_known_by_shopper_and_event_id() -> None:
    """As the importer has it."""
    assert identity(LINE) == ("u1", "e1")
    assert identity({**LINE, "event_id": None}) is None
