"""How load changes over time. `LOADTEST_SCALE` shrinks a scenario: 0.1 is a tenth of the time and of the users."""

import os
from typing import ClassVar, Final

from locust import LoadTestShape

SCALE: Final = float(os.environ.get("LOADTEST_SCALE", "1"))


class Stages(LoadTestShape):
    """Stages one after the other: (seconds, users at its end, users that may come or go a second)."""

    abstract = True
    stages: ClassVar[tuple[tuple[float, int, float], ...]] = ()

    def tick(self) -> tuple[int, float] | None:
        """Return how many users there should be now, and how fast they come; None once all stages are over."""
        now = self.get_run_time()
        for seconds, users, rate in self.stages:
            now -= seconds * SCALE
            if now < 0:
                return max(1, round(users * SCALE)), max(1.0, rate * SCALE)
        return None
