"""`aigq think distil` as a user runs it, with and without a teacher, and whatever the teacher does."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from fastapi import Response

from service.contracts.errors import ArtefactError
from tests.integration.fake_teacher import FakeTeacher, good, teaching
from tests.integration.support import ROOT, clean_environment, eventually
from tests.unit.evaluation.shops import DAY, users, write
from tests.unit.think.camping import ITEMS, LATE, RARE, camping
from workers.common.dataset import Dataset
from workers.common.reasons import Lesson, read_lessons


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Return the campers' dataset."""
    return camping(tmp_path_factory.mktemp("shop") / "data")


@pytest.fixture
def teacher() -> Iterator[FakeTeacher]:
    """Serve a teacher."""
    with teaching(FakeTeacher()) as fake:
        yield fake


class Distil:
    """The command on a dataset, with a file to write."""

    def __init__(self, shop: Dataset, out: Path) -> None:
        self.shop, self.out = shop, out

    def command(self, *arguments: str) -> list[str]:
        """Return what runs it."""
        given = ["--data", str(self.shop.root), "--out", str(self.out), "--json", *arguments]
        return [sys.executable, "-m", "workers.cli", "think", "distil", *given]

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        environment = {**clean_environment(), **variables}
        return subprocess.run(
            self.command(*arguments),
            cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    def asked(self, teacher: FakeTeacher, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run it with a teacher, who is asked one thing after the other."""
        model = ["--teacher", teacher.url, "--teacher-model", "wise", "--in-flight", "1"]
        return self.run(*model, *arguments, **variables)

    @property
    def lessons(self) -> list[Lesson]:
        """What was written."""
        return list(read_lessons(self.out, self.shop.provenance()))


@pytest.fixture
def distil(shop: Dataset, tmp_path: Path) -> Distil:
    """Return the command."""
    return Distil(shop, tmp_path / "reasons.parquet")


def told(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return the summary."""
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = orjson.loads(done.stdout)
    return found


def test_without_a_teacher_the_logs_answer(distil: Distil) -> None:
    """Rows say so; a second run writes the same; nothing hidden is in them."""
    summary = told(distil.run())
    assert summary["teacher"] == "knowledge"
    assert summary["lessons"] == len(distil.lessons) > 3
    assert {one.teacher for one in distil.lessons} == {"knowledge"}
    assert {one.trigger.split(":")[0] for one in distil.lessons} >= {"item", "category"}
    said = repr(distil.lessons)
    assert "sleeping bag" in said
    assert not any(hidden in said for hidden in (RARE, LATE, "secret bivouac"))
    before = distil.lessons
    told(distil.run())
    assert distil.lessons == before


def test_lessons_to_publish_are_of_everybody(distil: Distil) -> None:
    """Of all shoppers and days, still of nothing that too few searched; no model may learn them."""
    learned, published = told(distil.run()), told(distil.run("--everybody"))
    assert published["triggers"] == learned["triggers"] + 2, "what thirty held-out shoppers searched, and what is new"
    with pytest.raises(ArtefactError, match="to publish alone"):
        assert distil.lessons
    said = repr(list(read_lessons(distil.out, distil.shop.provenance(), serving=True)))
    assert RARE not in said


@pytest.mark.parametrize("flags", [(), ("--everybody",)])
def test_logs_without_a_search_are_told(tmp_path: Path, flags: tuple[str, ...]) -> None:
    """Regression: with --everybody they ended in an error of polars."""
    shoppers = users("train", 20)
    profiles = [{"user_id": user, "segment": "campers", "consent": True} for user in shoppers]
    mute = write(tmp_path / "mute", [(user, 3 * DAY, "click", "tent") for user in shoppers], profiles, ITEMS)
    done = Distil(mute, tmp_path / "none.parquet").run(*flags)
    assert done.returncode == 1
    assert "use logs of a longer period or of more shoppers" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "none.parquet").exists()


def test_a_teacher_is_asked_once(distil: Distil, teacher: FakeTeacher) -> None:
    """With the key and the form of the answer; what the shop has not is dropped; a second run costs nothing."""
    summary = told(distil.asked(teacher, TEACHER_API_KEY="open"))
    assert summary["asked"] == len(teacher.asked) == summary["lessons"] > 5
    assert summary["tokens"] == 360 * len(teacher.asked)
    assert summary["drops"]["finds_nothing"] == summary["lessons"]
    assert set(teacher.keys) == {"Bearer open"}
    assert teacher.requests[0]["response_format"]["type"] == "json_schema"
    assert not any(hidden in repr(teacher.asked) for hidden in (RARE, LATE, "secret bivouac"))
    first = distil.lessons[0]
    assert first.teacher == "wise at 127.0.0.1"
    assert first.rationale.startswith("goes with ")
    assert "camping stove" in first.queries
    assert "flying carpet" not in first.queries
    again = told(distil.asked(teacher))
    assert (again["asked"], again["tokens"], again["known"]) == (0, 0, summary["asked"])


def test_nonsense_is_counted_and_not_asked_again(distil: Distil, teacher: FakeTeacher) -> None:
    """No JSON, JSON of another form, a rationale with markup, too few queries: skipped by reason, the rest is whole."""
    bad = iter(['{"rationale": ', '{"why": "x"}', " ", '{"rationale": "<b>", "queries": ["sleeping bag"]}',
                '{"rationale": "it is so", "queries": ["sleeping bag", "flying carpet"]}'])  # fmt: skip
    teacher.reply = lambda evidence: next(bad, None) or good(evidence)
    summary = told(distil.asked(teacher))
    assert summary["drops"]["nonsense"] == 3
    assert summary["drops"]["reasons_unclean"] == summary["drops"]["few_queries"] == 1
    assert summary["lessons"] == summary["asked"] - 5
    again = told(distil.asked(teacher))
    assert (again["asked"], again["drops"], again["lessons"]) == (0, summary["drops"], summary["lessons"])


def test_what_passes_is_tried_again(distil: Distil, teacher: FakeTeacher) -> None:
    """Too many requests, a broken gateway: after a pause, with all lessons in the end."""
    teacher.respond = lambda number: Response(status_code=(429, 503)[number - 1]) if number <= 2 else None
    summary = told(distil.asked(teacher))
    assert len(teacher.asked) == summary["asked"] + 2
    assert "timeout" not in summary["drops"]


def test_a_teacher_that_is_too_slow_is_an_error(distil: Distil, teacher: FakeTeacher) -> None:
    """Said with its address; nothing is written."""
    teacher.delay_s = 5.0
    done = distil.asked(teacher, "--timeout", "0.1", "--retries", "0")
    assert done.returncode == 1
    assert f"the teacher at {teacher.url} left 8 triggers in a row without an answer" in done.stderr
    assert "Traceback" not in done.stderr
    assert not distil.out.exists()


def test_one_slow_answer_is_a_counted_skip(distil: Distil, teacher: FakeTeacher) -> None:
    """It counts in full against the budget, since it may be billed; the next run asks for it alone."""
    teacher.respond = lambda number: Response(status_code=500) if number == 2 else None
    summary = told(distil.asked(teacher, "--retries", "0"))
    assert summary["drops"]["timeout"] == 1
    teacher.respond = lambda _: None
    again = told(distil.asked(teacher))
    assert (again["asked"], again["lessons"]) == (1, summary["lessons"] + 1)


@pytest.mark.parametrize("usage", [{"prompt_tokens": 300, "completion_tokens": 60}, None])
def test_a_cap_is_never_passed(distil: Distil, teacher: FakeTeacher, usage: dict[str, int] | None) -> None:
    """In tokens or in money, also if the teacher does not say what it used; a higher cap goes on where that ended."""
    teacher.usage = usage
    summary = told(distil.asked(teacher, "--max-tokens", "5000"))
    assert 0 < summary["asked"] < summary["triggers"]
    assert summary["tokens"] <= 5000
    assert summary["drops"]["over_budget"] == summary["triggers"] - summary["asked"]
    price = ("--price-in", "1000", "--price-out", "2000")
    more = told(distil.asked(teacher, "--max-cost", "6", *price))
    assert more["known"] == summary["asked"]
    assert 0 < more["cost"] <= 6
    assert more["lessons"] > summary["lessons"]


def test_too_expensive_from_the_start(distil: Distil, teacher: FakeTeacher) -> None:
    """Nobody is asked, nothing is written, and the message says why."""
    done = distil.asked(teacher, "--max-tokens", "10")
    assert done.returncode == 1
    assert "over_budget" in done.stderr
    assert not teacher.asked
    assert not distil.out.exists()


def test_a_killed_run_goes_on(distil: Distil, teacher: FakeTeacher) -> None:
    """Ctrl-C: no file, answers are kept, even if the last one was cut short."""
    teacher.delay_s = 0.2
    model = ["--teacher", teacher.url, "--teacher-model", "wise", "--in-flight", "1"]
    process = subprocess.Popen(
        distil.command(*model), cwd=ROOT, env=clean_environment(), stderr=subprocess.PIPE, text=True
    )
    answers = distil.out.with_name("reasons.parquet.answers.jsonl")
    eventually(lambda: answers.exists() and answers.read_bytes().count(b"\n") >= 3, 60.0)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "the next run goes on" in errors
    assert not distil.out.exists()
    answers.write_bytes(answers.read_bytes()[:-5])
    teacher.delay_s = 0.0
    kept = answers.read_bytes().count(b"\n")
    summary = told(distil.asked(teacher))
    assert summary["known"] == kept
    assert summary["lessons"] == summary["known"] + summary["asked"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--teacher", "gpt"], "neither knowledge nor a URL"),
        (["--teacher", "http://127.0.0.1:9"], "--teacher-model"),
        (["--max-cost", "1"], "--price-in"),
    ],
)
def test_wrong_options_are_named(distil: Distil, arguments: list[str], message: str) -> None:
    """Before anything takes time."""
    done = distil.run(*arguments)
    assert done.returncode == 1
    assert message in done.stderr


@pytest.mark.parametrize(("status", "message"), [(401, "TEACHER_API_KEY"), (404, "--teacher-model"), (400, "answers")])
def test_an_endpoint_that_refuses_is_an_error(distil: Distil, teacher: FakeTeacher, status: int, message: str) -> None:
    """At once, not for each trigger."""
    teacher.respond = lambda _: Response("no", status)
    done = distil.asked(teacher)
    assert done.returncode == 1
    assert message in done.stderr
    assert len(teacher.asked) == 1
