"""Rows compared by case, over seeds."""

from pathlib import Path

import orjson
import polars as pl
import pytest
from typer.testing import CliRunner

from service.contracts.errors import ArtefactError, ConfigError
from tests.unit.evaluation.test_seeds import _report as report
from workers.evaluation.by_case import FILE, averaged
from workers.evaluation.pooled import parse_pairs, pooled
from workers.evaluation.seeds import app

CASES = 40


def _hits(**methods: str) -> pl.DataFrame:
    """Return hits from strings of 1 and 0, repeated; every fourth case is cold, every second has novel targets."""
    return pl.concat(
        pl.DataFrame(
            {
                "user_id": [f"u{n:02}" for n in range(CASES)],
                "events": [0 if n % 4 == 0 else 9 for n in range(CASES)],
                "method": name,
                "hit": [pattern[n % len(pattern)] == "1" for n in range(CASES)],
                "novel_hit": [pattern[n % len(pattern)] == "1" if n % 2 else None for n in range(CASES)],
            }
        )
        for name, pattern in methods.items()
    )


def test_hits_are_averaged_over_seeds_case_by_case() -> None:
    """A row that one seed lacks is averaged over the others."""
    found = averaged([_hits(popular="1000", a="1111"), _hits(popular="1000", a="1000", b="1100")])
    rates = {name: rows["hit"].mean() for (name,), rows in found.group_by("method")}
    assert rates == {"popular": 0.25, "a": pytest.approx(0.625), "b": 0.5}
    a = found.filter(pl.col("method") == "a")
    assert a["hit"].to_list() == [1, 0.5, 0.5, 0.5] * (CASES // 4)
    assert a["novel_hit"].null_count() == CASES // 2


def test_ratios_are_paired() -> None:
    """A row that hits wherever another does, and once more in each other case, is better without much doubt."""
    found = pooled(
        averaged([_hits(popular="1000", worse="0000", a="1010")]), ["popular", "worse"], [("a", "popular")], 7
    )
    every = found["all"]
    assert (every["cases"], found["novel"]["cases"], found["cold"]["cases"]) == (CASES, CASES // 2, CASES // 4)
    assert every["best_baseline"] == "popular"
    assert every["methods"]["popular"]["vs_best"] == {"ratio": 1, "ci": (1, 1)}
    assert every["pairs"] == {"a:popular": every["methods"]["a"]["vs_best"]}
    assert every["pairs"]["a:popular"]["ratio"] == 2
    low, high = every["pairs"]["a:popular"]["ci"]
    assert 1 < low < 2 < high
    # Unpaired, the same rates would leave it open which of them is better: the cases that both hit would not cancel.
    assert found["cold"]["pairs"]["a:popular"] == {"ratio": 1, "ci": (1, 1)}
    assert found["cold_novel"] == {"cases": 0, "best_baseline": None, "methods": {}, "pairs": {}}


def test_other_cases_and_unknown_rows_are_refused() -> None:
    """With a message that says what to do."""
    with pytest.raises(ArtefactError, match="different cases"):
        averaged([_hits(a="1"), _hits(a="1").head(CASES - 1)])
    with pytest.raises(ConfigError, match="b: is no row of these reports; there are a"):
        pooled(averaged([_hits(a="1")]), ["a"], [("a", "b")], 7)
    with pytest.raises(ConfigError, match="write A:B"):
        parse_pairs(["il_sft"])


def test_the_command_compares_rows(tmp_path: Path) -> None:
    """By case where the reports have cases; those written before there were any keep their means and ranges."""
    for seed, pattern in enumerate(("1100", "1010")):
        folder = tmp_path / str(seed)
        folder.mkdir()
        (folder / "report.json").write_bytes(orjson.dumps(report(0.5)))
        _hits(popular="1000", il_sft=pattern).write_parquet(folder / FILE)
    arguments = [str(tmp_path / "0"), str(tmp_path / "1" / "report.json"), "--pairs", "il_sft:popular"]
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    found = orjson.loads(done.stdout.strip())
    assert found["paired"]["all"]["pairs"]["il_sft:popular"]["ratio"] == 2
    assert found["rows"]["il_sft"]["hr@6"]["seeds"] == 2
    assert "il_sft:popular" in done.stderr
    (tmp_path / "1" / FILE).unlink()
    assert isinstance(CliRunner().invoke(app, arguments).exception, ArtefactError)
    alone = CliRunner().invoke(app, [*arguments[:2], "--json"])
    assert "paired" not in orjson.loads(alone.stdout.strip())
