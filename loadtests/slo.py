"""The verdict: locust ends with exit code 1, and says why, if hints missed their objectives.

Locust is a closed loop (a user waits for an answer before the next request), so its percentiles flatter a slow server;
docs/operate.md has a constant-rate measurement to set beside it.
"""

import logging
import os
from typing import Final

from locust import events
from locust.env import Environment

HINTS: Final = "GET /v1/hints"
MAX_P99_MS: Final = float(os.environ.get("LOADTEST_P99_MS", "50"))
MAX_FAILED: Final = float(os.environ.get("LOADTEST_FAILED", "0.001"))
_MISSED: Final = 1
_log = logging.getLogger(__name__)


def missed(requests: int, failures: int, p99_ms: float) -> list[str]:
    """Return what was missed, in words; `p99_ms` is that of hints."""
    found = [] if requests else ["nothing was requested"]
    if requests and failures / requests > MAX_FAILED:
        found.append(f"{failures / requests:.2%} of requests failed, {MAX_FAILED:.2%} may")
    if p99_ms > MAX_P99_MS:
        found.append(f"p99 of hints is {p99_ms:.0f} ms, {MAX_P99_MS:.0f} ms are allowed")
    return found


@events.quitting.add_listener
def judge(environment: Environment, **_: object) -> None:
    """Set the exit code by the objectives."""
    total = environment.stats.total
    hints = environment.stats.get(HINTS, "GET")
    problems = missed(total.num_requests, total.num_failures, hints.get_response_time_percentile(0.99) or 0.0)
    for problem in problems:
        _log.error("SLO missed: %s", problem)
    if problems:
        environment.process_exit_code = _MISSED
