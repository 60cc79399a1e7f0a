"""Codecs: what goes in comes out for its owner only, and nothing but `CorruptValue` is ever raised."""

from collections.abc import Callable

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.contracts.codecs import (
    LIST_VERSION,
    MAX_VALUE_BYTES,
    VERSION,
    BehaviourEntry,
    Profile,
    QueryList,
    ScoredQuery,
    decode_behaviour,
    decode_list,
    decode_profile,
    decode_seen,
    encode_behaviour,
    encode_list,
    encode_profile,
    encode_seen,
)
from service.contracts.errors import CorruptValue
from service.contracts.hints import MAX_HINTS
from service.contracts.keys import shopper_sid
from service.contracts.text import MAX_QUERY_CHARS
from tests.support import SAFE_TEXT

SID = shopper_sid("u42")
OTHER = shopper_sid("u43")
REASONS = {"json", "size", "shape", "version", "owner"}

scores = st.integers(0, 10_000).map(lambda n: n / 10_000)
lists = st.builds(
    QueryList,
    st.integers(0, 2**53),
    st.integers(0, 2**45),
    SAFE_TEXT,
    st.lists(st.builds(ScoredQuery, SAFE_TEXT, scores), max_size=10).map(tuple),
    SAFE_TEXT,
    st.integers(0, 2**10 - 1),
)
profiles = st.builds(Profile, st.booleans(), st.dictionaries(SAFE_TEXT, SAFE_TEXT, max_size=5))
owners = st.sampled_from([SID, OTHER, "item:a", "item:b", "category:A > B", "query:tent"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | SAFE_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(SAFE_TEXT, inner, max_size=4),
    max_leaves=8,
)
# Bytes that get past version and owner, so that the inner checks are tried too.
almost = st.builds(
    lambda version, rest: orjson.dumps([version, SID[:10], *rest]),
    st.sampled_from([VERSION, LIST_VERSION]),
    st.lists(json_values, max_size=7),
)
broken = st.binary(max_size=80) | almost


def _decode_one_behaviour(sid: str, raw: bytes) -> BehaviourEntry:
    entries, reasons = decode_behaviour(sid, [raw])
    if reasons:
        raise CorruptValue(reasons[0])
    return entries[0]


LIST = encode_list(SID, QueryList(3, 1_700_000_000_000, "m", (ScoredQuery("tent", 1.0),)))
ENTRY = encode_behaviour(SID, BehaviourEntry("search", 12.5, "tent"))
PROFILE = encode_profile(SID, Profile(consent=True, fields={"segment": "parent"}))
KINDS = [(decode_list, LIST), (_decode_one_behaviour, ENTRY), (decode_profile, PROFILE)]
kinds = pytest.mark.parametrize(("decode", "raw"), KINDS, ids=["list", "behaviour", "profile"])
Decode = Callable[[str, bytes], object]


@given(owners, lists)
def test_lists_round_trip(owner: str, value: QueryList) -> None:
    """A list comes back as it was written."""
    assert decode_list(owner, encode_list(owner, value)) == value


@given(st.sampled_from(["search", "click"]), st.integers(0, 2**40), SAFE_TEXT)
def test_behaviour_round_trips(kind: str, ts: int, ref: str) -> None:
    """An entry comes back, to the millisecond."""
    entry = BehaviourEntry(kind, ts / 1000, ref)
    assert decode_behaviour(SID, [encode_behaviour(SID, entry)]) == ([entry], [])


@given(profiles)
def test_profiles_round_trip(profile: Profile) -> None:
    """A profile comes back as it was written."""
    assert decode_profile(SID, encode_profile(SID, profile)) == profile


@kinds
def test_another_owner_is_a_miss(decode: Decode, raw: bytes) -> None:
    """One shopper's value is never read as another's."""
    with pytest.raises(CorruptValue) as caught:
        decode(OTHER, raw)
    assert caught.value.reason == "owner"


def test_another_trigger_is_a_miss() -> None:
    """Triggers are compared whole, not by their first characters."""
    raw = encode_list("item:long-identifier-1", QueryList(0, 1, "m", ()))
    with pytest.raises(CorruptValue, match="owner"):
        decode_list("item:long-identifier-2", raw)


@kinds
def test_another_version_is_a_miss(decode: Decode, raw: bytes) -> None:
    """A value of tomorrow's schema is not guessed at."""
    value = orjson.loads(raw)
    value[0] += 1
    with pytest.raises(CorruptValue) as caught:
        decode(SID, orjson.dumps([*value, "a field of tomorrow"]))
    assert caught.value.reason == "version"


@kinds
def test_cut_short_is_broken_json(decode: Decode, raw: bytes) -> None:
    """Every proper prefix is refused."""
    for length in range(len(raw)):
        with pytest.raises(CorruptValue) as caught:
            decode(SID, raw[:length])
        assert caught.value.reason == "json"


@kinds
def test_too_long_is_refused_unread(decode: Decode, raw: bytes) -> None:
    """The longest that is read is still read; one byte more is not looked into, whatever it is."""
    decode(SID, raw.ljust(MAX_VALUE_BYTES))
    for longer in (raw.ljust(MAX_VALUE_BYTES + 1), b"\x00" * (MAX_VALUE_BYTES + 1)):
        with pytest.raises(CorruptValue) as caught:
            decode(SID, longer)
        assert caught.value.reason == "size"


def test_the_longest_that_is_written_is_read() -> None:
    """Fifty queries of as many and as long characters as are let in."""
    longest = QueryList(
        2**53, 2**45, "m" * 100, (ScoredQuery("\U0001f600" * MAX_QUERY_CHARS, 2.0),) * MAX_HINTS, "d" * 32
    )
    assert decode_list(SID, encode_list(SID, longest)) == longest


@kinds
def test_other_shapes(decode: Decode, raw: bytes) -> None:
    """Fields that are missing, too many, or of another type are named `shape`."""
    value = orjson.loads(raw)
    for other in ([], {}, 1, None, value[:-1], [*value, 1], [*value[:2], *([{"a": 1}] * (len(value) - 2))]):
        with pytest.raises(CorruptValue) as caught:
            decode(SID, orjson.dumps(other))
        assert caught.value.reason == "shape"


@pytest.mark.parametrize("score", ["nan", "0.5", None, True, [1]])
def test_a_score_is_a_number(score: object) -> None:
    """A score that is no number would break the order of the answer."""
    raw = orjson.dumps([LIST_VERSION, SID[:10], 1, 1, "m", "", 0, "tent", score])
    with pytest.raises(CorruptValue, match="shape"):
        decode_list(SID, raw)


@kinds
@given(raw_bytes=broken)
def test_random_bytes_raise_nothing_else(decode: Decode, raw: bytes, raw_bytes: bytes) -> None:
    """Whatever Redis holds, a reader sees a value or a `CorruptValue` with a bounded reason."""
    del raw
    reason = "json"
    try:
        decode(SID, raw_bytes)
    except CorruptValue as error:
        reason = error.reason
    assert reason in REASONS


def test_one_broken_entry_does_not_hide_the_others() -> None:
    """Behaviour is read entry by entry."""
    entries, reasons = decode_behaviour(SID, [ENTRY, b"\x00", ENTRY, ENTRY.replace(SID[:10].encode(), b"someoneels")])
    assert [entry.ref for entry in entries] == ["tent", "tent"]
    assert reasons == ["json", "owner"]


def test_near_duplicates_are_one_seen_hint() -> None:
    """So that Redis can count them; another shopper's are left out, with the reason."""
    seen = encode_seen(SID, "camping tents")
    assert encode_seen(SID, "Tent, camping") == seen
    foreign = encode_seen("someone-else-entirely", "lamp")
    assert decode_seen(SID, [seen, foreign, b"\x00", b"[1]"]) == ({"camping tent"}, ["owner", "json", "shape"])
    assert decode_seen(SID, [seen.replace(b'"camping tent"', b"7")]) == (set(), ["shape"])
    assert decode_seen(SID, [seen, seen.ljust(MAX_VALUE_BYTES + 1)]) == ({"camping tent"}, ["size"])
