"""A whole run without a model: the promised JSON, the page, and mistakes that are named."""

from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
from typer.testing import CliRunner

from service.contracts.errors import ArtefactError, ConfigError
from service.contracts.settings import Settings
from tests.unit.evaluation.shops import CUT, write
from workers.common.dataset import Dataset
from workers.evaluation import checkpoint, oracles
from workers.evaluation.baselines import NAMES
from workers.evaluation.by_case import FILE, HITS, read_hits
from workers.evaluation.commands import app
from workers.evaluation.libraries import optional
from workers.evaluation.plots import CAPTIONS
from workers.evaluation.run import Evaluation, Plan, evaluate
from workers.evaluation.strata import COLD_EVENTS
from workers.evaluation.tables import percent, tables
from workers.evaluation.write import introduction
from workers.evaluation.write import write as write_report


@pytest.fixture(scope="module")
def evaluation(journey_data: Dataset) -> Evaluation:
    """Return the evaluation on the journeys."""
    return evaluate(Plan(journey_data.root), Settings(), lambda _stage, _done, _total: None)


@pytest.fixture(scope="module")
def report(evaluation: Evaluation) -> dict[str, Any]:
    """Return its report as a script would read it."""
    parsed: dict[str, Any] = orjson.loads(orjson.dumps(evaluation.report))
    return parsed


def test_the_report_has_what_scripts_read(report: dict[str, Any]) -> None:
    """Rates at 3, 6 and 10 with intervals, for all and novel targets, by method; cold shoppers on their own."""
    assert tuple(report["methods"]) == tuple(report["cold"]) == NAMES
    for found in report["methods"].values():
        assert found["hr@3"] <= found["hr@6"] <= found["hr@10"]
        for prefix in ("", "novel_"):
            low, high = found[f"{prefix}hr@6_ci"]
            assert 0 <= low <= found[f"{prefix}hr@6"] <= high <= 1
        assert found["distinct"] == 1
        assert found["in_catalogue"] == 1
        assert 0 < found["coverage@6"] <= found["coverage"] <= 1
    assert report["methods"]["co_click"]["novel_hr@6"] == 1
    assert set(report["strata"]) == {"history", "target", "item", "locale"}
    assert report["data"]["cases"] == report["data"]["available_cases"] == 40
    assert report["data"]["cut_off"] == CUT


def test_methods_are_compared_with_the_best_baseline(report: dict[str, Any]) -> None:
    """Its ratio to itself is one; nobody is better."""
    for view, prefix in (("all", ""), ("novel", "novel_")):
        best = report["best_baseline"][view]
        rates = {name: found[f"{prefix}hr@6"] for name, found in report["methods"].items()}
        assert rates[best] == max(rates.values())
        assert report["methods"][best][f"{prefix}vs_best_ci"] == [1, 1]


def test_each_stratum_has_its_own_best_baseline(report: dict[str, Any]) -> None:
    """What is best for all may be poor for cold shoppers, of whom nothing is known."""
    for some in report["strata"].values():
        for found in some.values():
            for view, prefix in (("all", ""), ("novel", "novel_")):
                rates = {name: one[f"{prefix}hr@6"] for name, one in found["methods"].items()}
                best = found["best_baseline"][view]
                if best is None:
                    assert not found["novel_cases" if prefix else "cases"]
                elif any(rates.values()):
                    assert rates[best] == max(rates.values())
                    assert found["methods"][best][f"{prefix}vs_best_ci"] == [1, 1]
    cold = report["strata"]["history"]["cold"]
    assert report["cold"] == cold["methods"]
    best = cold["best_baseline"]["all"]
    rates = {name: one["hr@6"] for name, one in report["cold"].items()}
    assert report["cold"]["repeat"]["vs_best"] == pytest.approx(rates["repeat"] / rates[best])
    # Nobody is heavy here: no ratio, rather than a made-up one.
    assert report["strata"]["history"]["heavy"]["cases"] == 0
    assert "vs_best" not in report["strata"]["history"]["heavy"]["methods"]["popular"]


def test_the_page_stands_alone(report: dict[str, Any], evaluation: Evaluation, tmp_path: Path) -> None:
    """Plots are inside, nothing is fetched, and equal reports give equal bytes."""
    page = write_report(report, evaluation.cases, tmp_path / "one").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == len(CAPTIONS)
    assert "http://" not in page
    assert "https://" not in page
    assert all(f"<td>{name}</td>" in page for name in NAMES)
    assert "HR@6 is the share of cases" in page
    assert "days all" in page
    assert " None" not in page, "is Python's word, not the reader's"
    assert page == write_report(report, evaluation.cases, tmp_path / "two").read_text(encoding="utf-8")
    assert orjson.loads((tmp_path / "one" / "report.json").read_bytes()) == report
    assert "shown" not in report


def test_each_case_has_its_hits_and_lists(report: dict[str, Any], evaluation: Evaluation, tmp_path: Path) -> None:
    """Beside the report, in the order of the cases, so that the figures can be made of it again."""
    write_report(report, evaluation.cases, tmp_path)
    hits = read_hits(tmp_path)
    assert hits is not None
    assert hits.columns == list(HITS)
    for name, found in report["methods"].items():
        some = hits.filter(pl.col("method") == name)
        assert some["hit"].mean() == pytest.approx(found["hr@6"])
        assert some["novel_hit"].mean() == pytest.approx(found["novel_hr@6"])
        cold = some.filter(pl.col("events") <= COLD_EVENTS)
        assert cold["hit"].mean() == pytest.approx(report["cold"][name]["hr@6"])
    lists = pl.read_parquet(tmp_path / FILE)["novel_queries"].list.len()
    assert lists.min() == lists.max() == 10
    assert read_hits(tmp_path / "nowhere") is None
    (tmp_path / FILE).write_bytes(b"nonsense")
    with pytest.raises(ArtefactError, match="cannot be read"):
        read_hits(tmp_path)


def test_tables_are_rectangular(report: dict[str, Any]) -> None:
    """Each row has a cell a head; oracles and generations come in if they are there."""
    rates = {name: {"hr@6": 0.3, "low": 0.2, "high": 0.4} for name in oracles.NAMES}
    bounds = {view: {"cases": 9, **rates} for view in ("all", "novel", "cold")}
    generation = {"format_valid": 1.0, "in_catalogue": 0.5, "dup_rate": 0.1, "nothing_rate": 0.0,
                  "tokens_plain": None, "tokens_compressed": 99.5}  # fmt: skip
    found = tables({**report, "oracles": bounds, "generation": {"m": generation}})
    assert len(found) == len(tables(report)) + 2
    assert all(len(row) == len(table.heads) for table in found for row in table.rows)
    assert percent(None) == percent(float("nan")) == "-"


def test_shoppers_are_shown_on_request(journey_data: Dataset, tmp_path: Path) -> None:
    """In the terminal, in the JSON and on the page; none unless asked for."""
    arguments = ["--data", str(journey_data.root), "--baselines-only", "--json", "--show", "2", "--out", str(tmp_path)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    found = orjson.loads(done.stdout)
    shown = found["shown"]
    assert [list(one["suggested"]) for one in shown] == [[found["best_baseline"]["novel"]]] * 2
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for one in shown:
        assert f"{one['user_id']}, {one['events']} events" in page
        assert one["user_id"] in done.stderr
    assert "✓" in done.stderr


def test_the_sample_is_stated(report: dict[str, Any]) -> None:
    """How many of how many, where the cut-off lies, and how long it took."""
    known = introduction({**report, "seconds": {"read": 1.4, "baselines": 79.1}})
    assert known[1] == "It took 80 seconds: read 1, baselines 79."
    assert "40 of 40 test shoppers" in introduction(report)[0]
    assert "2027-01-10T08:00" in introduction(report)[0]


def test_the_command_ends_with_one_json_line(journey_data: Dataset, tmp_path: Path) -> None:
    """Tables go to stderr, so that stdout can be piped."""
    arguments = [
        "--data",
        str(journey_data.root),
        "--baselines-only",
        "--json",
        "--cases",
        "12",
        "--out",
        str(tmp_path),
    ]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    (line,) = done.stdout.strip().splitlines()
    assert orjson.loads(line)["data"]["cases"] == 12
    assert "popular_segment" in done.stderr
    assert (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "is no directory"),
        ({"config.json": b"{}"}, "tokenizer.json: missing"),
        ({"config.json": b'{"max_position_embeddings": 9}', "tokenizer.json": b"{}"}, "no \\*.safetensors"),
        ({"config.json": b"{}", "tokenizer.json": b"{}", "model.safetensors": b""}, "max_position_embeddings"),
        ({"config.json": b"nonsense", "tokenizer.json": b"{}", "model.safetensors": b""}, "max_position_embeddings"),
    ],
)
def test_what_is_not_a_checkpoint_is_named(
    journey_data: Dataset, tmp_path: Path, files: dict[str, bytes], message: str
) -> None:
    """Before anything is learned or started."""
    path = tmp_path / "model"
    for name, content in files.items():
        path.mkdir(exist_ok=True)
        (path / name).write_bytes(content)
    with pytest.raises(ArtefactError, match=message) as raised:
        evaluate(Plan(journey_data.root, {"m": path}), Settings(), lambda _stage, _done, _total: None)
    assert str(path) in str(raised.value)


def test_a_tokenizer_that_is_none_is_named(tmp_path: Path) -> None:
    """The library's own error says no file."""
    (tmp_path / "tokenizer.json").write_bytes(b"{}")
    with pytest.raises(ArtefactError, match=r"tokenizer\.json: cannot be read"):
        checkpoint.mean_tokens(tmp_path, ["a"])


def test_a_row_cannot_have_the_name_of_another(journey_data: Dataset) -> None:
    """Else one would silently replace the other."""
    with pytest.raises(ConfigError, match="popular"):
        evaluate(Plan(journey_data.root, {"popular": Path()}), Settings(), lambda _stage, _done, _total: None)
    for arguments in (["--compare", "models/x"], ["--compare", "il_sft=models/x"]):
        done = CliRunner().invoke(app, ["--data", "x", *arguments])
        assert isinstance(done.exception, ConfigError)


def test_a_broken_dataset_is_named(journey_data: Dataset, tmp_path: Path) -> None:
    """A part that was cut short is an error of one line, with the fix."""
    whole = journey_data.parts[0].read_bytes()
    broken = write(tmp_path / "data", [("u1", 0.0, "search", "tent")])
    broken.parts[0].write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ArtefactError, match="cannot be read"):
        evaluate(Plan(broken.root), Settings(), lambda _stage, _done, _total: None)


def test_oracles_are_read_from_the_shops_report(tmp_path: Path) -> None:
    """From its output as it is: the last line is the JSON."""
    rates = {name: {"hr@6": 0.3, "low": 0.2, "high": 0.4} for name in oracles.NAMES}
    some = {"cases": 90, "methods": {**rates, "repeat": rates["oracle"]}}
    file = tmp_path / "oracles.json"
    found = {**rates, "oracle_cases": 600, "cold": some, "novel": some}
    file.write_bytes(b"a table\n" + orjson.dumps(found) + b"\n")
    assert oracles.read(file) == {
        "all": {"cases": 600, **rates},
        "novel": {"cases": 90, **rates},
        "cold": {"cases": 90, **rates},
    }
    file.write_bytes(b"{}")
    with pytest.raises(ArtefactError, match="aigq shop report"):
        oracles.read(file)


def test_a_missing_library_is_named() -> None:
    """With the command that installs it."""
    with pytest.raises(ConfigError, match=r"aigq\[evaluate\]"):
        optional("no_such_library.inside")
