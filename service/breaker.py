"""A circuit breaker: after some failures in a row a dependency is left alone, then probed by one request.

Own code, since the breakers on PyPI decorate calls and lock; here the check must be synchronous and free.
"""

import time
from collections.abc import Callable
from typing import Literal

State = Literal["closed", "open", "half_open"]


class CircuitBreaker:
    """Ask `allow()` before a call, then report `success()` or `failure()`."""

    def __init__(self, failures: int, reset_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Open after `failures` in a row; let one probe through every `reset_s`."""
        self._limit = failures
        self._reset_s = reset_s
        self._clock = clock
        self._count = 0
        self._retry_at = 0.0

    @property
    def state(self) -> State:
        """What the breaker would say now."""
        if self._count < self._limit:
            return "closed"
        return "half_open" if self._clock() >= self._retry_at else "open"

    def allow(self) -> bool:
        """Whether to call now. In half-open state only the first caller gets a yes until it reports."""
        if self._count < self._limit:
            return True
        now = self._clock()
        if now < self._retry_at:
            return False
        self._retry_at = now + self._reset_s
        return True

    def success(self) -> None:
        """Close."""
        self._count = 0

    def failure(self) -> None:
        """Count; open at the limit."""
        self._count += 1
        if self._count >= self._limit:
            self._retry_at = self._clock() + self._reset_s
