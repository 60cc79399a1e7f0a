"""`aigq train all` on logs whose exposures teach nothing: it says so, and goes on."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.unit.training.test_samples import DAY, END, event, write
from workers.training.commands import app

pytestmark = pytest.mark.filterwarnings("ignore")  # torch and trl deprecate among themselves
SHOPPERS = 90


def logs(*, served: bool) -> list[dict[str, Any]]:
    """Return shoppers who search and click a tent; every tenth saw a hint and clicked it; `served`: it was logged."""
    lines: list[dict[str, Any]] = []
    for user in range(SHOPPERS):
        start = END - (8 + user % 10) * DAY
        lines += [
            event(user, start, "search", "dome tent"),
            event(user, start + 60, "click", "tent"),
            event(user, start + 120, "search", "camping stove"),
            event(user, start + 180, "click", "stove"),
        ]
        hint = {"user_id": f"u{user:03d}", "request_id": f"r{user}"}
        if served:
            lines.append({**hint, "ts": start + 200, "type": "hint_served", "queries": ["lamp"], "propensity": [0.9]})
        lines.append({**hint, "ts": start + 201, "type": "hint_exposure", "query": "lamp", "position": 0})
        if user % 10 == 0:
            lines.append({**hint, "ts": start + 202, "type": "hint_click", "query": "lamp", "position": 0})
    return lines


@pytest.mark.parametrize(
    ("served", "reason"), [(True, "clicks; a CTR ranker needs 20"), (False, "log what the server served too")]
)
def test_too_few_exposures_cost_the_rankers_alone(tmp_path: Path, served: bool, reason: str) -> None:  # noqa: FBT001
    """The model and the ranker of next searches are made; what is missing is not named among what was made."""
    write(tmp_path / "data", logs(served=served), {})
    out = tmp_path / "toy"
    done = CliRunner().invoke(app, ["all", "--data", str(tmp_path / "data"), "--recipe", "smoke", "--out", str(out)])
    assert done.exit_code == 0, done.exception
    for kind in ("ctr", "judge"):
        assert f"going on without toy-{kind}: " in done.stderr
    assert reason in done.stderr
    made = json.loads(done.stdout.splitlines()[-1])
    assert made.keys() & {"ctr", "judge", "ranker", "model"} == {"ranker", "model"}
    assert (out / "model.safetensors").exists()
    assert not (tmp_path / "toy-ctr").exists()
