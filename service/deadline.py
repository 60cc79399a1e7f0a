"""One monotonic deadline a request."""

import time


class Deadline:
    """A point in time by which a request must be answered."""

    __slots__ = ("_end",)

    def __init__(self, budget_ms: float) -> None:
        """Start the clock: `budget_ms` from now."""
        self._end = time.monotonic() + budget_ms / 1000

    def remaining_s(self) -> float:
        """Return the seconds left; negative once passed."""
        return self._end - time.monotonic()
