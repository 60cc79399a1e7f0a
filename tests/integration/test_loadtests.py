"""The load scenarios, headless and shrunk, against a running service: they load it, and judge it by its objectives."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]
# Scenario -> scale at which it takes some three seconds.
SCENARIOS = {"morning_peak": 0.0025, "flash_sale": 0.012, "cold_visitors": 0.01, "stampede": 0.05, "soak": 0.0005}


def locust(client: httpx.Client, scenario: str, out: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a scenario for some seconds."""
    command = [
        sys.executable, "-m", "locust", "-f", f"loadtests/{scenario}.py", "--headless",
        "--host", str(client.base_url).rstrip("/"), "--csv", str(out / scenario), "--html", str(out / "report.html"),
    ]  # fmt: skip
    env = {**os.environ, "LOADTEST_SCALE": str(SCENARIOS[scenario]), "PYTHONDONTWRITEBYTECODE": "1", **environment}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_scenario_runs_and_passes(client: httpx.Client, tmp_path: Path, scenario: str) -> None:
    """Exit code 0 with a generous objective; figures stay as CSV and as a page."""
    done = locust(client, scenario, tmp_path, LOADTEST_P99_MS="5000")
    assert done.returncode == 0, done.stdout + done.stderr
    with (tmp_path / f"{scenario}_stats.csv").open(newline="") as file:
        rows = {row["Name"]: row for row in csv.DictReader(file)}
    assert int(rows["GET /v1/hints"]["Request Count"]) > 0
    assert int(rows["Aggregated"]["Failure Count"]) == 0
    assert (tmp_path / "report.html").exists()


def test_a_missed_objective_is_an_exit_code(client: httpx.Client, tmp_path: Path) -> None:
    """So that a pipeline stops; and it says by how much."""
    done = locust(client, "flash_sale", tmp_path, LOADTEST_P99_MS="0.001")
    assert done.returncode == 1
    assert "SLO missed: p99 of hints is" in done.stderr
