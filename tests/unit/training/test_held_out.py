"""What is held out changes nothing: whatever shoppers of other parts do, and whatever anyone does after the cut-off."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.training.test_samples import DAY, END, RECIPE, event, read, write
from workers.common.split import cut_off, part_of
from workers.training.samples import Sample, build, lm_samples

CUT_OFF = cut_off({"from": "2026-10-01T00:00:00+00:00", "to": "2026-11-01T00:00:00+00:00"})
SHOPPERS = range(40)
LEARNED = [user for user in SHOPPERS if part_of(f"u{user:03d}") == "train"]
OTHERS = [user for user in range(40, 90) if part_of(f"u{user:03d}") != "train"]
_REFS = {
    "search": ("dome tent", "camping stove", "sleeping bag", "a query of theirs"),
    "click": ("tent", "stove"),
    "purchase": ("tent", "stove"),
}
_WHAT = st.sampled_from([(kind, ref) for kind, refs in _REFS.items() for ref in refs])
_LATER = st.tuples(st.sampled_from([*LEARNED, *OTHERS]), st.floats(CUT_OFF, END), _WHAT)
_ELSEWHERE = st.tuples(st.sampled_from(OTHERS), st.floats(END - 31 * DAY, END), _WHAT)
EXTRA = st.lists(st.one_of(_LATER, _ELSEWHERE), min_size=1, max_size=30)


def known() -> list[dict[str, Any]]:
    """Return what may be learned from."""
    lines = []
    for user in LEARNED:
        start = END - (8 + user % 10) * DAY
        lines += [
            event(user, start, "search", "dome tent"),
            event(user, start + 60, "click", "tent"),
            event(user, start + 120, "search", "camping stove"),
            event(user, start + 180, "search", "sleeping bag"),
        ]
    return lines


def samples(extra: list[tuple[int, float, tuple[str, str]]]) -> list[Sample]:
    """Return what is learned from a log with `extra` lines."""
    lines = known() + [event(user, ts, kind, ref) for user, ts, (kind, ref) in extra]
    with TemporaryDirectory() as folder:
        lines.sort(key=lambda line: (line["user_id"], line["ts"]))
        shop = read(write(Path(folder) / "data", lines, {}))
        return [*build(shop, RECIPE, 7, lambda _: None), *lm_samples(shop, np.random.default_rng(7))]


@pytest.fixture(scope="module")
def alone() -> list[Sample]:
    """Return what is learned from the log without any."""
    return samples([])


@settings(max_examples=15, deadline=None)
@given(EXTRA)
def test_what_is_held_out_changes_no_sample(
    alone: list[Sample], extra: list[tuple[int, float, tuple[str, str]]]
) -> None:
    """Not one prompt, label, count or draw."""
    assert samples(extra) == alone


def test_what_is_not_held_out_does(alone: list[Sample]) -> None:
    """One search of a learned shopper a moment before the cut-off, and samples are others."""
    assert samples([(LEARNED[0], CUT_OFF - 1, ("search", "sleeping bag"))]) != alone
