"""Latency from event to list."""

from workers.bench.freshness import percentiles


def test_percentiles() -> None:
    """Of what was measured, in seconds."""
    found = percentiles([number / 100 for number in range(101)])
    assert {name: figure["median"] for name, figure in found.items()} == {
        "event_to_list_s_p50": 0.5,
        "event_to_list_s_p95": 0.95,
        "event_to_list_s_p99": 0.99,
    }
