"""Evaluations of several seeds, side by side."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from service.contracts.errors import ArtefactError
from workers.evaluation.seeds import combined, read


def _report(hit_rate: float, name: str = "shop") -> dict[str, Any]:
    row = {"hr@6": hit_rate, "novel_hr@6": hit_rate / 2, "novel_vs_best": 1.0}
    return {
        "data": {"name": name, "cut_off": 1.0, "cases": 10},
        "methods": {"popular": {**row, "hr@6": 0.1}, "il_sft": row},
        "cold": {"popular": {"hr@6": 0.1}, "il_sft": {"hr@6": hit_rate, "vs_best": hit_rate / 0.1}},
        "tuned": {"popular": {}},
        "generation": {"il_sft": {"format_valid": 1.0, "in_catalogue": hit_rate, "dup_rate": 0.0}},
    }


def test_means_and_ranges() -> None:
    """A figure that a row does not have is not made up."""
    found = combined([_report(0.2), _report(0.4)])
    assert found["il_sft"]["hr@6"] == {"mean": pytest.approx(0.3), "least": 0.2, "most": 0.4, "seeds": 2}
    assert found["il_sft"]["in_catalogue"]["most"] == 0.4
    assert found["popular"]["hr@6"]["least"] == found["popular"]["hr@6"]["most"] == 0.1
    assert found["il_sft"]["cold_vs_best"]["mean"] == pytest.approx(3)
    assert "cold_vs_best" not in found["popular"]
    assert "judge@6" not in found["il_sft"]
    assert "in_catalogue" not in found["popular"]


def test_other_data_cannot_be_compared() -> None:
    """The message says what to do."""
    with pytest.raises(ArtefactError, match="evaluate all seeds on the same dataset"):
        combined([_report(0.2), _report(0.2, "another")])


def test_a_report_is_a_file_or_its_directory(tmp_path: Path) -> None:
    """And anything else is refused by name."""
    (tmp_path / "report.json").write_bytes(orjson.dumps(_report(0.2)))
    assert read(tmp_path) == read(tmp_path / "report.json") == _report(0.2)
    (tmp_path / "other.json").write_text("[1]")
    with pytest.raises(ArtefactError, match=r"other\.json: is no report"):
        read(tmp_path / "other.json")
