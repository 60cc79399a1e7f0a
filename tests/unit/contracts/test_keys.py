"""Keys: stable, spread, one cluster slot a shopper, no personal data."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.contracts.keys import (
    Keys,
    category_trigger,
    item_trigger,
    named_at,
    query_trigger,
    shopper_sid,
    version_name,
)
from tests.support import SAFE_TEXT

KEYS = Keys("aigq", 256)
TAG = re.compile(r"\{([^}]*)\}")


def test_the_hash_of_a_shopper_never_changes() -> None:
    """Another hash would lose every stored shopper, so these are written down."""
    assert shopper_sid("u42") == "tv8Wq36M6z6gNcK-8JFwvg"
    assert KEYS.partition(shopper_sid("u42")) == 140


@given(SAFE_TEXT, st.integers(1, 16384))
def test_partition_is_stable_and_in_range(user_id: str, partitions: int) -> None:
    """The same shopper always lives in the same partition, below P."""
    keys = Keys("ns", partitions)
    partition = keys.partition(shopper_sid(user_id))
    assert 0 <= partition < partitions
    assert partition == Keys("other", partitions).partition(shopper_sid(user_id))


@given(SAFE_TEXT)
def test_a_request_reads_the_keys_that_others_write(user_id: str) -> None:
    """The four that are built together are those that each have a method."""
    sid = shopper_sid(user_id)
    assert KEYS.of_request(sid) == (KEYS.u2q(sid), KEYS.behaviour(sid), KEYS.profile(sid), KEYS.seen(sid))


def test_partitions_are_all_used() -> None:
    """Shoppers spread evenly: no partition has more than three times its share."""
    counts = [0] * 16
    for number in range(1600):
        counts[Keys("ns", 16).partition(shopper_sid(f"u{number}"))] += 1
    assert min(counts) > 30
    assert max(counts) < 300


@given(SAFE_TEXT)
def test_all_keys_of_a_shopper_share_a_hash_tag(user_id: str) -> None:
    """What one event touches is in one cluster slot."""
    sid = shopper_sid(user_id)
    partition = KEYS.partition(sid)
    names = [
        KEYS.behaviour(sid), KEYS.state(sid), KEYS.profile(sid), KEYS.u2q(sid),
        KEYS.due(partition), KEYS.leases(partition), KEYS.events(partition),
    ]  # fmt: skip
    assert {tuple(TAG.findall(name)) for name in names} == {(f"p{partition:03d}",)}
    assert len(set(names)) == len(names)


@given(st.text(min_size=5, max_size=128))
def test_keys_hold_no_personal_data(user_id: str) -> None:
    """A user id is an e-mail address in some shops: keys carry its hash, of a fixed length."""
    sid = shopper_sid(user_id)
    assert re.fullmatch(r"[\w-]{22}", sid)
    assert user_id not in KEYS.behaviour(sid)


def test_namespaces_do_not_meet() -> None:
    """Two deployments may share one Redis."""
    sid = shopper_sid("u")
    one, other = Keys("a", 8), Keys("b", 8)
    pairs = [(k.u2q(sid), k.due(1), k.partition_count(), k.x2q_pointer(), k.x2q("v", "item:1")) for k in (one, other)]
    assert set(pairs[0]).isdisjoint(pairs[1])


def test_short_triggers_are_readable_and_long_ones_hashed() -> None:
    """A key stays short whatever the query."""
    assert KEYS.x2q("v1", item_trigger("tent-1")) == "aigq:x2q:v1:item:tent-1"
    long = [KEYS.x2q("v1", query_trigger("x" * 150 + tail)) for tail in ("a", "b")]
    assert all(re.fullmatch(r"aigq:x2q:v1:query#[0-9a-f]{32}", key) for key in long)
    assert long[0] != long[1]


@given(SAFE_TEXT, SAFE_TEXT)
def test_x2q_keys_are_bounded_and_distinct(one: str, other: str) -> None:
    """No trigger makes a key over 120 bytes, and no two share one."""
    triggers = {item_trigger(one), category_trigger(one), item_trigger(other), category_trigger(other)}
    names = {KEYS.x2q("v1", trigger) for trigger in triggers}
    assert len(names) == len(triggers)
    assert all(len(name.encode()) <= 120 for name in names)


def test_equal_queries_are_one_trigger() -> None:
    """The way a query was typed does not matter."""
    assert query_trigger("  Camping\tSTOVE ") == query_trigger("camping stove")


@pytest.mark.parametrize("version", ["20260101T000000-abcdef", "v1"])
def test_x2q_patterns_find_the_keys_of_versions(version: str) -> None:
    """What belongs to a version can be told from its key."""
    for key in (KEYS.x2q_info(version), KEYS.x2q(version, "item:a:b"), KEYS.x2q(version, "category:A > B")):
        assert key.startswith(KEYS.x2q_pattern(version).rstrip("*"))
        assert key.startswith(KEYS.x2q_pattern().rstrip("*"))
        assert KEYS.x2q_version(key) == version


@given(st.floats(0, 4e9))
def test_a_version_tells_when_it_was_named(now: float) -> None:
    """To the second; other names, and none, tell nothing."""
    assert abs(named_at(version_name(now, "a1b2c3")) - now) <= 1
    assert named_at(None) == named_at("bench") == named_at("v1-2-3") == 0.0


@given(st.floats(0, 4e9), st.floats(0, 4e9))
def test_later_versions_sort_later(one: float, other: float) -> None:
    """By name, so that the newest can be told without reading them."""
    first, second = sorted((one, other))
    assert version_name(first, "x") <= version_name(second, "x")
