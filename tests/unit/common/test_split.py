"""The one split: by hash and by time."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.common.split import PARTS, cut_off, part_of


def test_parts_have_about_their_shares() -> None:
    """The split is by hash, so it is the same in every run."""
    found = Counter(part_of(f"user {n}") for n in range(20_000))
    for part, share in PARTS:
        assert found[part] / 20_000 == pytest.approx(share, abs=0.01)
    assert sum(share for _, share in PARTS) == pytest.approx(1.0)


@given(st.text())
def test_every_shopper_is_in_one_part(user_id: str) -> None:
    """And in the same one whenever asked."""
    assert part_of(user_id) == part_of(user_id)
    assert part_of(user_id) in dict(PARTS)


def test_the_cut_off_leaves_a_sixth() -> None:
    """Thirty days: the last five."""
    manifest = {"from": "2026-10-02T00:00:00+00:00", "to": "2026-11-01T00:00:00+00:00"}
    assert cut_off(manifest) == 1_793_491_200.0 - 5 * 86400
