"""`aigq import` as people and scripts see it."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import Result
from typer.testing import CliRunner

from tests.importing import EVENTS, ITEMS, START, write
from workers.common.dataset import Dataset
from workers.shop.importer import commands

BAD = {"user_id": "u1", "ts": START, "type": "nonsense"}


def call(folder: Path, events: list[dict[str, Any]], *options: str) -> Result:
    """Run the command on a log with the small catalogue."""
    log, items = write(folder, "events.jsonl", events), write(folder, "items.jsonl", ITEMS)
    return CliRunner().invoke(commands.app, [str(log), "--items", str(items), "--out", str(folder / "out"), *options])


def test_it_says_what_it_did(tmp_path: Path) -> None:
    """For people: counts, the first rejected line with its number, the period, what is lost."""
    result = call(tmp_path, [*EVENTS, EVENTS[0], BAD], "--max-rejects", "0.5")
    assert result.exit_code == 0
    assert "events: 7 lines = 5 accepted + 1 duplicates + 1 rejected" in result.stdout
    assert "1 type_unknown" in result.stdout
    assert "events.jsonl:7" in result.stdout
    assert "2026-11-13" in result.stdout
    assert "lost: no hint_exposure" in result.stdout


def test_the_last_line_is_for_machines(tmp_path: Path) -> None:
    """One JSON object: counts by table, reasons, and where manifest and rejects are."""
    result = call(tmp_path, [*EVENTS, BAD], "--max-rejects", "0.5", "--json")
    said = orjson.loads(result.stdout.splitlines()[-1])
    assert said["tables"]["events"] == {
        "lines": 6, "accepted": 5, "duplicates": 0, "rejected": 1, "reasons": {"type_unknown": 1}
    }  # fmt: skip
    assert said["tables"]["items"]["accepted"] == len(ITEMS)
    (dataset,) = said["datasets"]
    manifest = orjson.loads(Path(dataset["manifest"]).read_bytes())
    assert {field: manifest[field] for field in ("events", "shoppers", "from", "to")}.items() <= dataset.items()
    assert Path(said["rejects"]).read_bytes().count(b"\n") == 1


def test_a_refusal_has_its_counts_too(tmp_path: Path) -> None:
    """Exit status 1, the reasons on standard error, and the same JSON with an `error`."""
    result = call(tmp_path, [*EVENTS, BAD], "--json")
    assert result.exit_code == 1
    assert "aigq import: 16.7% of the events rejected" in result.stderr
    said = orjson.loads(result.stdout)
    assert said["tables"]["events"]["reasons"] == {"type_unknown": 1}
    assert said["error"] in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--mapping", "absent.toml"], "absent.toml"),
        (["--pseudonym-key", "absent.key"], "absent.key: the key cannot be read"),
        (["--out", "/dev/null/out"], "/dev/null"),
        (["--profiles", "absent.csv"], "absent.csv: cannot be read"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, options: list[str], message: str) -> None:
    """It names the file, and there is no traceback."""
    result = call(tmp_path, EVENTS, *options)
    assert result.exit_code == 1
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert isinstance(result.exception, SystemExit)


def test_a_dataset_is_replaced_only_on_purpose(tmp_path: Path) -> None:
    """And the message says how."""
    assert call(tmp_path, EVENTS).exit_code == 0
    again = call(tmp_path, EVENTS[:3])
    assert again.exit_code == 1
    assert "exists already" in again.stderr
    assert call(tmp_path, EVENTS[:3], "--overwrite").exit_code == 0
    assert Dataset(tmp_path / "out").manifest["events"] == 3
