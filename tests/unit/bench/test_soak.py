"""The soak: memory before and after, and what a request leaves behind."""

import os

import pytest

from workers.bench.common import rss_mib
from workers.bench.soak import figures


def test_growth_is_told_against_the_warm_server() -> None:
    """Not against one whose caches are empty."""
    found = figures((1000, 100.0), [(0, 100.0), (500, 104.0), (1024, 101.0)])
    assert found["rss_warm_mib"]["median"] == 100.0
    assert found["rss_end_mib"]["median"] == 101.0
    assert found["rss_mib"] == {"median": 101.0, "min": 100.0, "max": 104.0}
    assert found["growth_share"]["median"] == pytest.approx(0.01)
    assert found["growth_bytes_a_request"]["median"] == pytest.approx(1024.0)
    assert found["requests"]["median"] == 1024


def test_memory_is_that_of_the_process() -> None:
    """What is allocated and written to counts."""
    before = rss_mib(os.getpid())
    held = bytearray(os.urandom(1 << 20)) * 50
    assert rss_mib(os.getpid()) - before == pytest.approx(len(held) / 2**20, abs=10)
