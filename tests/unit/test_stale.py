"""When a list is old."""

from service.contracts.keys import shopper_sid
from service.stale import fresh_for


def test_freshness_is_a_shoppers_own() -> None:
    """The setting, give or take a tenth, spread evenly, and the same each time."""
    sids = [shopper_sid(f"u{number}") for number in range(1000)]
    found = [fresh_for(sid, 100.0) for sid in sids]
    assert found == [fresh_for(sid, 100.0) for sid in sids]
    assert 90.0 <= min(found) < 91.0
    assert 109.0 < max(found) <= 110.0
    assert 99.0 < sum(found) / len(found) < 101.0
