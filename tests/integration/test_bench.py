"""Benchmarks run from start to end, at a size that says nothing about speed."""

import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.integration.support import clean_environment
from tests.support import require_tool
from workers.common.processes import aigq

SMALL = ("--shoppers", "300", "--repeats", "1", "--seconds", "1", "--json")
Figures = Mapping[str, Mapping[str, float]]


@pytest.fixture(scope="module")
def var(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for data and logs, where benchmarks can run at all."""
    require_tool("wrk", "wrk", "benchmarks")
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("there is one core, benchmarks ARE NOT TESTED")
    return tmp_path_factory.mktemp("bench")


def _environment(var: Path) -> dict[str, str]:
    """Return one by which all that a benchmark starts can be found."""
    return {**clean_environment(), "BENCH_OF_TEST": str(var)}


def _bench(var: Path, *arguments: str) -> dict[str, Any]:
    command = aigq("bench", *arguments, *SMALL, "--var", str(var))
    done = subprocess.run(command, env=_environment(var), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = orjson.loads(done.stdout)
    return report


def _left_behind(var: Path) -> list[str]:
    """Return the commands of processes that a benchmark in `var` started and that still run."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(var).encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:  # not ours, or gone
            continue
    return found


def test_one_run_tells_all(var: Path) -> None:
    """Ratios, latencies, late answers in four states of Redis, and memory, in one object of figures."""
    quick = ("--requests", "200", "--soak-requests", "500", "--without", "on-request")
    report = _bench(var, "serving", "--all", *quick)
    figures: Figures = report["figures"]
    median = {name: figure["median"] for name, figure in figures.items()}
    assert median["ratio_vs_bare"] > 0
    assert median["hints_cpu_us"] > 0
    assert 0 < median["p50_ms_at_70pct"] <= median["p99_ms_at_70pct"]
    assert median["p99_ratio_300_to_1000"] > 0
    for state in ("well", "frozen", "slow", "dead"):
        assert 0 <= median[f"late_{state}"] <= median[f"late_wire_{state}"] <= 200
        assert 0 < median[f"max_server_ms_{state}"] <= median[f"max_wire_ms_{state}"] + 0.01
        assert median[f"failed_{state}"] == 0
    assert median["max_server_ms_frozen"] > 5, "Redis was not frozen"
    assert median["soak_requests"] >= 500
    assert median["soak_rss_end_mib"] > 10
    assert len(report["samples"]) >= 2
    assert report["plan"]["shoppers"] == 300
    assert orjson.loads((var / "serving-all.json").read_bytes()) == report
    assert _left_behind(var) == []


def test_variants_answer_the_same(var: Path) -> None:
    """Each with one thing changed; a broken one would be told, not be fast."""
    names = ["same", "asyncio_loop", "h11", "python_parser", "redis_pool", "routed", "starlette_response", "huge_pages"]
    report = _bench(var, "variants", *(part for name in names for part in ("--only", name)))
    assert report["skipped"] == {}
    assert list(report["changes"]) == [name for name in report["changes"] if name in names]
    for name in names:
        assert report["figures"][f"{name}_speed"]["median"] > 0
        assert report["figures"][f"{name}_cpu_us"]["median"] > 0
    assert _left_behind(var) == []


def test_ctrl_c_leaves_nothing_behind(var: Path) -> None:
    """Servers, Redis and load generator end with the command."""
    command = aigq("bench", "serving", *SMALL, "--var", str(var), "--seconds", "60")
    with subprocess.Popen(
        command, env=_environment(var), stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as bench:
        assert bench.stderr is not None
        assert any(b"server: bare" in line for line in bench.stderr)
        os.killpg(bench.pid, signal.SIGINT)  # as a terminal does
        out, _ = bench.communicate(timeout=30)
    assert bench.returncode not in {0, -signal.SIGKILL}
    assert out == b""
    assert _left_behind(var) == []
