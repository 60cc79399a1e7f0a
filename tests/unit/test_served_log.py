"""The served log: what waits costs nobody else time."""

import gc
from typing import Any

from service.contracts.keys import Keys
from service.served_log import ServedLog


def test_lines_that_wait_are_nothing_to_collect() -> None:
    """While Redis stands still thousands wait; each full collection walked through them: 60 ms without answers."""
    nobody: Any = None
    log = ServedLog(nobody, Keys("aigq", 8), 10_000)
    gc.collect()
    before = len(gc.get_objects())
    for n in range(1000):
        log.append({"user_id": f"u{n}", "queries": ["tent", "lamp"], "propensity": [1.0, 0.5]})
    gc.collect()
    assert len(gc.get_objects()) - before < 100
