"""One deadline a request."""

from service.deadline import Deadline


def test_the_budget_runs_down() -> None:
    """Never more than was given, never growing."""
    deadline = Deadline(1000)
    first, second = deadline.remaining_s(), deadline.remaining_s()
    assert 0.5 < second <= first <= 1.0


def test_a_budget_that_is_used_up_is_not_positive() -> None:
    """A stage that asks then is skipped."""
    assert Deadline(0).remaining_s() <= 0
    assert Deadline(-5).remaining_s() < -0.004
