"""Lines of a log: what is taken, what is refused and why, and that none is lost."""

from datetime import datetime
from typing import Any

import hypothesis.strategies as st
import orjson
import polars as pl
import pytest
from hypothesis import given
from pydantic import ValidationError

from service.contracts.events import EVENT, parse_timestamp
from workers.common.dataset import EVENT_SCHEMA
from workers.shop.importer.events import SCHEMA, check_events
from workers.shop.importer.mapping import EVENT_FIELDS, TYPES, EventsMapping
from workers.shop.importer.spill import to_arrow
from workers.shop.importer.values import to_frame

LATEST = 4e9
SEARCH = {"user_id": "u1", "ts": 1.7e9, "type": "search", "query": "tent"}
CLICK = {"user_id": "u1", "ts": 1.7e9, "type": "click", "item_id": "i1"}
EXPOSURE = {**SEARCH, "type": "hint_exposure", "request_id": "r1", "position": 0}
SERVED = {"user_id": "u1", "ts": 1.7e9, "type": "hint_served", "request_id": "r1", "queries": ["tent", "stove"]}


def check(*lines: dict[str, Any], mapping: EventsMapping | None = None) -> pl.DataFrame:
    """Return the checked frame of lines."""
    mapping = mapping or EventsMapping()
    return check_events(to_frame(1, lines, [None] * len(lines), mapping, EVENT_FIELDS), mapping, LATEST)


def reason(line: dict[str, Any], mapping: EventsMapping | None = None) -> str | None:
    """Return why a line is rejected."""
    return check(line, mapping=mapping)["reason"][0]


def seconds(ts: object, **time: str) -> float | None:
    """Return what a line's time is read as."""
    checked = check({**SEARCH, "ts": ts}, mapping=EventsMapping.model_validate({"time": time}))
    return checked["ts"][0] if checked["reason"][0] is None else None


@pytest.mark.parametrize("line", [SEARCH, CLICK, EXPOSURE, SERVED], ids=lambda line: line["type"])
def test_the_contract_is_taken(line: dict[str, Any]) -> None:
    """Each kind of line, and the result has the dataset's schema."""
    checked = check(line)
    assert checked["reason"].to_list() == [None]
    assert to_arrow(checked.select(list(SCHEMA))).schema == EVENT_SCHEMA


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ({**SEARCH, "user_id": None}, "user_id_missing"),
        ({**SEARCH, "user_id": " u1"}, "user_id_invalid"),
        ({**SEARCH, "user_id": "u\u202e1"}, "user_id_invalid"),
        ({**SEARCH, "user_id": "u" * 129}, "user_id_invalid"),
        ({**SEARCH, "user_id": True}, "wrong_type"),
        ({**SEARCH, "user_id": {"id": 1}}, "wrong_type"),
        ({**SEARCH, "user_id": 2.0**60}, "wrong_type"),  # was a longer number, so perhaps somebody else's
        ({**SEARCH, "ts": None}, "ts_missing"),
        ({**SEARCH, "ts": 1.7e12}, "ts_invalid"),
        ({**SEARCH, "ts": "yesterday"}, "ts_invalid"),
        ({**SEARCH, "ts": "2026-02-30T00:00:00Z"}, "ts_invalid"),
        ({**SEARCH, "ts": -1}, "ts_invalid"),
        ({**SEARCH, "ts": LATEST + 1}, "ts_future"),
        ({**SEARCH, "type": None}, "type_missing"),
        ({**SEARCH, "type": "page_view"}, "type_unknown"),
        ({**SEARCH, "query": ""}, "query_missing"),
        ({**SEARCH, "query": "\u200b\u202e"}, "query_empty"),
        ({**SEARCH, "query": "x" * 201}, "query_too_long"),
        ({**SEARCH, "query": " " * 801 + "x"}, "query_too_long"),
        ({**CLICK, "item_id": None}, "item_id_missing"),
        ({**CLICK, "price": -1}, "price_invalid"),
        ({**CLICK, "price": "free"}, "price_invalid"),
        ({**CLICK, "quantity": 0}, "quantity_invalid"),
        ({**CLICK, "quantity": 1.5}, "quantity_invalid"),
        ({**CLICK, "order_id": "a\tb"}, "order_id_invalid"),
        ({**EXPOSURE, "request_id": None}, "request_id_missing"),
        ({**EXPOSURE, "position": None}, "position_missing"),
        ({**EXPOSURE, "position": 100}, "position_invalid"),
        ({**SERVED, "queries": None}, "queries_missing"),
        ({**SERVED, "queries": "tent"}, "served_invalid"),
        ({**SERVED, "scores": [0.5]}, "served_invalid"),
        ({**SERVED, "queries": [], "scores": [0.5]}, "served_invalid"),
        ({**SERVED, "propensity": [0.5, "x"]}, "served_invalid"),
    ],
)
def test_a_rejected_line_has_its_reason(line: dict[str, Any], expected: str) -> None:
    """A bounded label for each fault."""
    assert reason(line) == expected


def test_a_field_that_the_type_does_not_have_is_dropped() -> None:
    """The query of a results page, logged with a click, must not pass for a search; nor does it spoil the line."""
    checked = check({**CLICK, "query": "x" * 999, "position": 500})
    assert checked["reason"][0] is None
    assert checked["query"][0] is None
    assert checked["position"][0] is None


def test_numbers_may_be_ids() -> None:
    """Shops number their customers; pandas makes floats of whole numbers with gaps, and NaN of the gaps."""
    checked = check({**CLICK, "user_id": 7, "item_id": 12.0, "session_id": float("nan")})
    assert checked.select("reason", "user_id", "item_id", "session_id").row(0) == (None, "7", "12", None)


def test_types_are_translated_or_ignored() -> None:
    """What the mapping ignores is rejected under a label of its own, whatever else is wrong with the line."""
    mapping = EventsMapping(types={"view": "click", "ping": "ignore"})
    assert check({**CLICK, "type": "view"}, mapping=mapping)["type"][0] == "click"
    assert reason({"type": "ping"}, mapping) == "type_ignored"
    assert reason(SEARCH, mapping) is None


@pytest.mark.parametrize(
    ("ts", "time", "expected"),
    [
        ("2026-11-23T08:00:00Z", {}, 1795420800.0),
        ("2026-11-23 09:00:00.250+01:00", {}, 1795420800.25),
        ("2026-11-23T08:00", {}, 1795420800.0),
        ("2026-11-23", {}, 1795392000.0),
        ("1795420800.5", {}, 1795420800.5),
        ("2026-11-23T09:00:00", {"zone": "Europe/Berlin"}, 1795420800.0),
        (1795420800250, {"format": "epoch_ms"}, 1795420800.25),
        ("23.11.2026 09:00", {"format": "%d.%m.%Y %H:%M", "zone": "Europe/Berlin"}, 1795420800.0),
        ("23/Nov/2026:09:00:00 +0100", {"format": "%d/%b/%Y:%H:%M:%S %z"}, 1795420800.0),
        ("2026-03-29T02:30:00", {"zone": "Europe/Berlin"}, None),  # a local time that the clocks skipped
        ("2026-10-25T02:30:00", {"zone": "Europe/Berlin"}, 1792888200.0),  # one that they had twice: the first
    ],
)
def test_times_are_read_as_the_mapping_says(ts: object, time: dict[str, str], expected: float | None) -> None:
    """RFC 3339, epoch in several units, and strptime with a zone."""
    assert seconds(ts, **time) == expected


@given(st.datetimes(min_value=datetime(1971, 1, 1), timezones=st.timezones()))  # noqa: DTZ001  (hypothesis wants it)
def test_a_time_means_what_the_endpoint_takes_it_for(moment: datetime) -> None:
    """Import and `POST /v1/events` agree about RFC 3339."""
    text = moment.isoformat()
    expected = parse_timestamp(text)
    offset = moment.utcoffset()
    if expected <= LATEST and offset is not None and offset.seconds % 60 == 0:  # RFC 3339 knows no seconds there
        assert seconds(text) == pytest.approx(expected, abs=2e-6)


TEXTS = st.text(max_size=12) | st.sampled_from(["u1", "tent", "2026-11-23T08:00:00Z", *TYPES])
VALUES = TEXTS | st.integers() | st.floats() | st.booleans() | st.none() | st.lists(TEXTS | st.floats(), max_size=3)
LINES = st.dictionaries(st.sampled_from(sorted(EVENT_FIELDS)), VALUES)
NEARLY = st.builds(lambda line, noise: {**line, **noise}, st.sampled_from([SEARCH, CLICK, EXPOSURE, SERVED]), LINES)


def _readable(line: dict[str, Any]) -> bool:
    try:
        orjson.dumps(line)
    except orjson.JSONEncodeError:  # a lone surrogate, which no file in UTF-8 can hold
        return False
    return True


@given(st.lists((LINES | NEARLY).filter(_readable), min_size=1, max_size=8))
def test_no_line_crashes_the_checks_and_what_is_taken_is_sound(lines: list[dict[str, Any]]) -> None:
    """A taken line, apart from `hint_served`, is one that the endpoint would take."""
    checked = check(*lines)
    assert checked.height == len(lines)
    sound = checked.filter(pl.col("reason").is_null()).select(list(SCHEMA))
    to_arrow(sound)
    for row in sound.iter_rows(named=True):
        event = {field: value for field, value in row.items() if value is not None}
        if event["type"] != "hint_served":
            EVENT.validate_python({"event_id": "e", **event})


@given(NEARLY.filter(_readable))
def test_what_the_endpoint_takes_is_taken(line: dict[str, Any]) -> None:
    """A front end's own log never fails to import."""
    event = {field: value for field, value in line.items() if value is not None}
    try:
        EVENT.validate_python({"event_id": "e", **event})
    except ValidationError:
        return
    if parse_timestamp(event["ts"]) <= LATEST:
        assert reason(event) is None
