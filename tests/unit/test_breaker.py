"""The circuit breaker, on a clock that the test turns."""

from hypothesis import given
from hypothesis import strategies as st

from service.breaker import CircuitBreaker


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        """Start at an hour that is not zero."""
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def _open(clock: Clock, failures: int = 3) -> CircuitBreaker:
    breaker = CircuitBreaker(failures, 1.0, clock)
    for _ in range(failures):
        assert breaker.allow()
        breaker.failure()
    return breaker


def test_opens_after_failures_in_a_row() -> None:
    """One success between them starts the count anew."""
    breaker = CircuitBreaker(3, 1.0, Clock())
    for outcome in (breaker.failure, breaker.failure, breaker.success, breaker.failure, breaker.failure):
        outcome()
        assert breaker.state == "closed"
    breaker.failure()
    assert breaker.state == "open"
    assert not breaker.allow()


def test_one_probe_after_the_pause() -> None:
    """The others wait for what it reports, and a probe that never reports is followed by another."""
    clock = Clock()
    breaker = _open(clock)
    clock.now += 0.99
    assert not breaker.allow()
    clock.now += 0.02
    assert breaker.state == "half_open"
    assert [breaker.allow() for _ in range(5)] == [True, False, False, False, False]
    clock.now += 1.0
    assert breaker.allow()


def test_the_probe_decides() -> None:
    """Success closes at once; failure opens for another pause."""
    clock = Clock()
    breaker = _open(clock)
    clock.now += 1.1
    assert breaker.allow()
    breaker.failure()
    assert not breaker.allow()
    clock.now += 1.1
    assert breaker.allow()
    breaker.success()
    assert breaker.state == "closed"
    assert all(breaker.allow() for _ in range(5))


@given(st.lists(st.sampled_from(["ask", "ok", "fail", "wait"]), max_size=60))
def test_a_dead_dependency_is_probed_at_most_once_a_pause(steps: list[str]) -> None:
    """Whatever happens, while it is open no two calls get through within one pause."""
    clock = Clock()
    breaker = CircuitBreaker(2, 1.0, clock)
    last_probe = -1e9
    for step in steps:
        if step == "wait":
            clock.now += 0.3
        elif step == "ok":
            breaker.success()
        elif step == "fail":
            breaker.failure()
        elif breaker.state == "closed":
            assert breaker.allow()
        elif breaker.allow():
            assert clock.now - last_probe >= 1.0
            last_probe = clock.now
        if breaker.state == "closed":
            last_probe = -1e9
