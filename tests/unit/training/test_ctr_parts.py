"""The parts of CTR training that are pure: examination, loss, measures."""

import math
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.training import ctr_metrics, examination
from workers.training.ctr import Form, _Loss

FORMS: tuple[Form, ...] = ("product", "offset", "position", "none")


def explored(rates: list[float], shown: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return positions and clicks of slots with exactly these click rates."""
    positions = np.repeat(np.arange(len(rates)), shown)
    clicks = np.concatenate([np.arange(shown) < rate * shown for rate in rates])
    return positions, clicks


def test_examination_is_found_where_there_are_many_slots() -> None:
    """Rates by position, relative to the first; any curve, not only a power law."""
    found = examination.estimate(*explored([0.10, 0.09, 0.02], 100_000), 3)
    assert found == pytest.approx([1, 0.9, 0.2], abs=0.01)


def test_examination_of_few_slots_is_drawn_to_the_power_law() -> None:
    """One click more or less must not turn positions around."""
    found = examination.estimate(np.array([0] * 100 + [1] * 100 + [2] * 100), np.arange(300) % 100 < 10, 3)
    raw = examination.estimate(*explored([0.1, 0.0, 0.1], 100), 3)
    assert found == pytest.approx([1, 1, 1])
    assert raw is not None
    assert raw[1] > 0.5


def test_no_explored_click_says_nothing() -> None:
    """The caller decides what to assume."""
    assert examination.estimate(np.array([0, 1]), np.array([False, False]), 2) is None
    assert examination.estimate(np.array([], dtype=np.int64), np.array([], dtype=bool), 2) is None


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=200))
def test_examination_is_a_share(slots: list[tuple[int, bool]]) -> None:
    """Of every position, also of one never explored: in (0, 1], with 1 among them."""
    positions, clicks = (np.array(column) for column in zip(*slots, strict=True))
    found = examination.estimate(positions, clicks, 10)
    if found is None:
        assert not clicks.any()
    else:
        assert len(found) == 10
        assert max(found) == 1
        assert min(found) > 0


def test_a_position_beyond_those_known_counts_like_the_last() -> None:
    """A longer list than any in the logs."""
    assert examination.at([1.0, 0.5], np.array([0, 1, 7])).tolist() == [1, 0.5, 0.5]


@pytest.mark.parametrize("form", FORMS)
@given(score=st.floats(-6, 4), at=st.floats(0.05, 1), clicked=st.booleans())
def test_the_gradient_is_that_of_the_loss(form: Form, score: float, at: float, clicked: bool) -> None:  # noqa: FBT001
    """And the second derivative is positive, so that every step of the trees goes down."""
    data = cast("Any", object())
    loss = _Loss(form, -1.0, {id(data): (np.array([at]), np.array([clicked]))})

    def value(offset: float) -> float:
        return loss.measure(np.array([score + offset]), data)[1]

    gradient, hessian = loss.gradient(np.array([score]), data)
    assert gradient[0] == pytest.approx((value(1e-5) - value(-1e-5)) / 2e-5, rel=1e-3, abs=1e-6)
    assert hessian[0] > 0


def test_auc_counts_pairs() -> None:
    """By hand: of 4 pairs of clicked and other, 2.5 are in order."""
    clicks = np.array([True, False, True, False])
    assert ctr_metrics.auc(clicks, np.array([0.9, 0.5, 0.5, 0.6])) == pytest.approx(2.5 / 4)
    assert math.isnan(ctr_metrics.auc(clicks[:1], np.array([1.0])))


def test_calibration_compares_rates() -> None:
    """Right on average by decile is calibrated; twice too sure is not."""
    rng = np.random.default_rng(0)
    chances = rng.uniform(0.01, 0.3, 50_000)
    clicks = (rng.random(50_000) < chances).astype(np.float64)
    assert ctr_metrics.calibration_error(chances, clicks) < 0.01
    assert ctr_metrics.calibration_error(2 * chances, clicks) > 0.1


def test_figures_of_nothing_are_null() -> None:
    """A group may be empty, and JSON has no NaN."""
    found = ctr_metrics.measure(np.array([], dtype=bool), np.array([]), 0.1)
    assert found["exposures"] == 0
    assert found["auc"] is found["log_loss"] is found["calibration_error"] is None


def test_log_loss_and_rank_correlation_by_hand() -> None:
    """Half a bit of doubt each, and a perfect order."""
    assert ctr_metrics.log_loss(np.array([True, False]), np.array([0.5, 0.5])) == pytest.approx(math.log(2))
    assert ctr_metrics.spearman(np.array([1.0, 2, 3]), np.array([10.0, 20, 21])) == pytest.approx(1)
    assert math.isnan(ctr_metrics.spearman(np.array([1.0, 1]), np.array([1.0, 2])))
