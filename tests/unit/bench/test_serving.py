"""The serving benchmark: what wrk prints becomes figures, and figures become ratios with their spread."""

import pytest

from service.contracts.errors import ConfigError
from workers.bench import serving
from workers.bench.arena import Plan, Server, parse
from workers.bench.common import Figures
from workers.bench.constant_rate import Answers
from workers.bench.open_loop import message
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


def test_feast_is_asked_by_the_same_open_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the rate that saturates it, and at one that does not, by turns with the service."""
    asked: list[tuple[str, float]] = []

    def at_rate(server: Server, rate: float, plan: Plan, kind: str) -> Answers:
        asked.append((kind, rate))
        return Answers(1, latencies_ms=[10.0 if kind == "feast" else 2.0])

    def by_turns(servers: dict[str, Server], plan: Plan, tell: object) -> dict[str, list[Figures]]:
        speeds = {"hints": 3000.0, "bare": 5000.0, "feast": 1000.0}
        rest = {"p50_ms": 1.0, "p99_ms": 99.0, "cpu_us": 300.0}
        return {name: [{"requests_s": speeds[name], **rest}] for name in servers}

    monkeypatch.setattr(serving, "at_rate", at_rate)
    monkeypatch.setattr(serving, "by_turns", by_turns)
    servers = {name: Server("", 0) for name in ("hints", "bare", "feast", "slow")}
    found = serving.measured(servers, Plan(1, 1, 1, 1), lambda _: None)
    assert asked == [("hints", 1000.0), ("feast", 1000.0), ("hints", 700.0), ("feast", 700.0)]
    assert found["ratio_vs_feast"]["median"] == 3.0
    assert found["p99_ratio_at_feasts_saturation"]["median"] == 0.2
    assert found["feast_p99_ms_at_70pct_of_feasts_saturation"]["median"] == 10.0
    assert "slow_requests_s" not in found


def test_feast_is_asked_for_the_feature_that_holds_the_hints() -> None:
    """As hints.lua asks it; the others for hints."""
    assert message("hints", "bench-1").path == "/v1/hints?user_id=bench-1"
    asked = message("feast", "bench-1")
    assert asked.path == "/get-online-features"
    assert b'"u2q:hints"' in asked.body
    assert b'"bench-1"' in asked.body
