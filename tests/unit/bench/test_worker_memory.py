"""A worker's memory over many refreshes."""

import os

from workers.bench.worker_memory import _made, _resident_mb

METRICS = """\
# TYPE aigq_refreshes_total counter
aigq_refreshes_total{outcome="done"} 30.0
aigq_refreshes_total{outcome="again"} 2.0
aigq_refreshes_total{outcome="unchanged"} 500.0
aigq_refreshes_created{outcome="done"} 1.7e9
"""


def test_only_lists_that_were_made_count() -> None:
    """What was written again for free is no refresh in full."""
    assert _made(METRICS) == 32.0


def test_resident_memory_grows_with_what_is_held() -> None:
    """In megabytes."""
    before = _resident_mb(os.getpid())
    held = bytearray(os.urandom(1)) * 50_000_000
    assert 40 < _resident_mb(os.getpid()) - before < 60
    del held
