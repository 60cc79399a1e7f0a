"""Intervals: they hold the mean, cover the truth, and are paired."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.common.bootstrap import interval, ratios, resampled_means


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_the_interval_lies_within_the_values(values: list[float]) -> None:
    """It never promises more than any case gave, and it is a point where all cases are alike."""
    low, high = interval(resampled_means(np.array(values)[:, None], seed=1, resamples=200)[:, 0])
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """Of 200 samples of 300 cases with a true rate of 0.2, about 95% of the intervals hold 0.2."""
    rng = np.random.default_rng(5)
    inside = 0
    for sample in (rng.random((300, 200)) < 0.2).T:
        low, high = interval(resampled_means(sample[:, None].astype(float), seed=2, resamples=400)[:, 0])
        inside += low <= 0.2 <= high
    assert 180 <= inside <= 199


def test_it_is_paired() -> None:
    """A method that hits exactly twice as often in every case has a ratio of 2 without doubt."""
    hits = np.array([0.0, 1.0, 0.0, 1.0, 1.0])
    means = resampled_means(np.stack([hits, 2 * hits], axis=1), seed=3)
    usable = means[:, 0] > 0
    assert interval(ratios(means[usable, 1], means[usable, 0])) == pytest.approx((2, 2))


def test_the_same_seed_gives_the_same_interval() -> None:
    """Reports can be compared; no cases is a mistake of the caller."""
    values = np.random.default_rng(1).random((40, 3))
    assert (resampled_means(values, 7) == resampled_means(values, 7)).all()
    assert (resampled_means(values, 7) != resampled_means(values, 8)).any()
    with pytest.raises(ValueError, match="at least one case"):
        resampled_means(np.empty((0, 2)), 7)
