"""The whole road on real parts: Valkey, vLLM with the shipped model, service, Direct worker, Think job."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.vllm
def test_demo_once_fills_all_shoppers_from_a_real_model(tmp_path: Path) -> None:
    """`aigq demo --once` exits 0, every shopper gets a generated list, and its last line is the figures."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("AIGQ_")}
    command = [sys.executable, "-m", "workers.cli", "demo", "--once", "--shoppers", "20", "--var", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    figures = json.loads(done.stdout.strip().splitlines()[-1])
    assert figures["u2q_filled"] == figures["shoppers"] == 20
    assert figures["hints_from_u2q"] > 0
    assert figures["hints_from_x2q"] > 0
    assert figures["x2q_triggers"] > 200
    assert 0 < figures["event_to_u2q_p95_s"] < 60
    assert 0 < figures["hints_p50_ms"] <= figures["hints_p99_ms"]
