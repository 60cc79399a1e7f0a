"""The serving benchmark: what wrk prints becomes figures, and figures become ratios with their spread."""

import pytest

from service.contracts.errors import ConfigError
from workers.bench.arena import parse
from workers.bench.serving import figures

PRINTED = """Running 3s test @ http://127.0.0.1:8000
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency    12.31ms    9.41ms  78.22ms   90.10%
  Latency Distribution
     50%  950.00us
     75%   14.20ms
     90%   20.00ms
     99%    1.20s
  3799 requests in 3.01s, 4.10MB read
Requests/sec:   1264.01
Transfer/sec:      1.36MB
"""


def test_units_become_milliseconds() -> None:
    """Whatever unit wrk chose."""
    assert parse(PRINTED) == pytest.approx({"requests": 3799, "requests_s": 1264.01, "p50_ms": 0.95, "p99_ms": 1200.0})


@pytest.mark.parametrize(
    "line", ["  Non-2xx or 3xx responses: 12", "  Socket errors: connect 0, read 3, write 0, timeout 0"]
)
def test_failed_requests_are_no_measurement(line: str) -> None:
    """An endpoint that answers 503 is fast."""
    with pytest.raises(ConfigError, match=line.strip().split(":", maxsplit=1)[0]):
        parse(PRINTED + line + "\n")


def test_another_output_is_refused() -> None:
    """Rather than figures of nothing."""
    with pytest.raises(ConfigError, match="something else"):
        parse("wrk: command line nonsense")


def test_the_ratio_is_of_pairs() -> None:
    """Each round's two servers are compared with each other; then the median of rounds."""
    rest = {"p50_ms": 1.0, "p99_ms": 2.0}
    ours = [{"requests_s": value, "cpu_us": 600.0, **rest} for value in (100.0, 300.0, 200.0)]
    other = [{"requests_s": value, "cpu_us": 300.0, **rest} for value in (200.0, 400.0, 500.0)]
    found = figures({"hints": ours, "bare": other})
    assert found["ratio_vs_bare"] == {"median": 0.5, "min": 0.4, "max": 0.75}
    assert found["cpu_ratio_vs_bare"]["median"] == 0.5
    assert found["hints_requests_s"]["median"] == 200.0
