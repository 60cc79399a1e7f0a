"""Variants of the service: each is what its name says, and their figures are of one round."""

import subprocess
import sys

import hiredis
import pytest

from service.contracts.errors import ConfigError
from workers.bench import compiled, variants
from workers.bench.arena import Plan, Server
from workers.bench.variant import CHANGES, PythonReader

REPLIES = b"*3\r\n$4\r\na\r\nb\r\n*2\r\n:12\r\n$-1\r\n+OK\r\n$0\r\n\r\n*0\r\n:-1\r\n"


@pytest.mark.parametrize("size", [1, 2, 3, 7, len(REPLIES)])
def test_the_parser_in_python_reads_what_hiredis_reads(size: int) -> None:
    """However the bytes come in."""
    nothing = object()
    found = {}
    for reader in (hiredis.Reader(notEnoughData=nothing), PythonReader(notEnoughData=nothing)):
        replies = found.setdefault(type(reader), [])
        for at in range(0, len(REPLIES), size):
            reader.feed(REPLIES[at : at + size])
            while (reply := reader.gets()) is not nothing:
                replies.append(reply)
    assert found[PythonReader] == [[b"a\r\nb", [12, None], b"OK"], b"", [], -1]
    assert found[hiredis.Reader] == found[PythonReader]


def test_changes_are_made_before_the_app_is_imported() -> None:
    """Else some modules would have bound what is changed."""
    code = "import sys, workers.bench.variant; print({'service.app', 'service.metrics'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_every_variant_can_be_started() -> None:
    """By a change, by the environment, by a build, or as it is."""
    assert set(CHANGES) <= set(variants.NAMES)
    assert set(variants.NAMES) - set(CHANGES) == {"same", "granian", "optimized", "malloc", "huge_pages", "mypyc"}
    assert variants.command("optimized")[:2] == ["env", "PYTHONOPTIMIZE=1"]
    assert variants.command("same")[-1] == "serve"


def test_figures_are_ratios_to_the_shipped_service_of_the_same_round() -> None:
    """A machine that slows down between rounds slows both."""
    shipped = [{"requests_s": speed, "cpu_us": cost} for speed, cost in ((100.0, 400.0), (50.0, 800.0))]
    quick = [{"requests_s": speed, "cpu_us": cost} for speed, cost in ((120.0, 300.0), (60.0, 600.0))]
    found = variants.figures({"shipped": shipped, "gc_off": quick})
    assert found["gc_off_speed"] == pytest.approx({"median": 1.2, "min": 1.2, "max": 1.2})
    assert found["gc_off_cost"]["median"] == pytest.approx(0.75)
    assert found["shipped_requests_s"]["max"] == 100.0
    assert "shipped_speed" not in found


def test_what_answers_something_else_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be fast because it does less. Who is slow to begin, or cut short, is asked again."""
    answers: dict[str, list[list[list[str]] | None]] = {
        "shipped": [None, [["other"]], [["tent"]]], "slow": [None, [["tent"]]], "broken": [[["none"]]], "down": [None],
    }  # fmt: skip

    def answer(server: Server) -> list[list[str]] | None:
        mine = answers[server.url]
        return mine.pop(0) if len(mine) > 1 else mine[0]

    monkeypatch.setattr(variants, "_answers", answer)
    assert set(variants.wrong({name: Server(name, 0) for name in answers})) == {"broken", "down"}
    with pytest.raises(ConfigError, match="too busy"):
        variants.wrong({"shipped": Server("down", 0)})


def test_what_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is started."""
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert "compiler" in (compiled.missing() or "")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert "pip install" in (variants.missing("granian") or "")
    assert "pip install" in (variants.missing("mypyc") or "")
    assert variants.missing("gc_off") is None


def test_a_wrong_name_is_refused(tmp_path: object) -> None:
    """With those that there are."""
    with pytest.raises(ConfigError, match="no variant nonsense; there are same"):
        variants.run(Plan(1, 1, 1, 1), ["nonsense"], tmp_path, print)
