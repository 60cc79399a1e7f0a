"""A list with its reasons: what parses is of the strict form, what does not is counted; files name their dataset."""

from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.contracts.errors import ArtefactError
from service.ranking.filter import reject_reason
from tests.support import ANY_TEXT, QUERIES
from workers.common.generator import Generation
from workers.common.list_parser import LIST_SIZE, parse_list
from workers.common.prompt import HINTS, REASONS, render_x2q_item, with_reasons
from workers.common.reasons import (
    MAX_CHARS,
    Lesson,
    Reasoned,
    fault,
    parse_reasoned,
    read_lessons,
    render_reasoned,
    write_lessons,
)

WHY = "goes with sleeping bags. next: camping stoves."
parts = st.lists(ANY_TEXT | QUERIES.map("\n".join) | st.sampled_from([HINTS, REASONS, WHY, "x" * 400]), max_size=6)
MADE_FROM = {"manifest_blake2b": "one"}


def _parse(text: str, *, truncated: bool = False) -> tuple[Reasoned | None, Counter[str]]:
    drops: Counter[str] = Counter()
    return parse_reasoned(Generation(text, 1, truncated), drops, lambda _: None), drops


@given(parts.map("".join), st.booleans())
def test_what_the_parser_promises(text: str, truncated: bool) -> None:  # noqa: FBT001
    """On any text: either a clean rationale and showable queries, or nothing and a counted reason."""
    found, drops = _parse(text, truncated=truncated)
    if found is None:
        assert drops.total() > 0
        return
    assert text.count(HINTS) == 1
    assert fault(found.rationale) is None
    assert text.partition(HINTS)[0].strip() == found.rationale
    assert 0 < len(found.queries) <= LIST_SIZE
    assert all(reject_reason(one.query) is None for one in found.queries)


@given(QUERIES)
def test_what_is_taught_is_what_is_parsed(queries: list[str]) -> None:
    """Training's completion comes back with the queries that the list parser would give."""
    plain = parse_list(Generation("\n".join(queries), 1, truncated=False), Counter(), lambda _: None)
    found, drops = _parse(render_reasoned(WHY, queries))
    assert found == (Reasoned(WHY, plain) if plain else None)
    assert drops["empty_list"] == (not plain)


@pytest.mark.parametrize(
    ("text", "truncated", "reason"),
    [
        ("tent\nlamp", False, "no_list"),
        (WHY, True, "reasons_cut"),
        (f"{HINTS}tent", False, "no_reasons"),
        (f"- 1 -{HINTS}tent", False, "no_reasons"),
        (f"{'why ' * 100}{HINTS}tent", False, "reasons_long"),
        (f"why\nbecause{HINTS}tent", False, "reasons_unclean"),
        (f"<b>why{HINTS}tent", False, "reasons_unclean"),
        (f"{WHY}{HINTS}tent{HINTS}lamp", False, "two_lists"),
        (f"{WHY}{HINTS}tent{REASONS}", False, "two_lists"),
        (f"{WHY}{HINTS}", False, "empty_list"),
    ],
)
def test_what_is_not_of_the_form_is_counted(text: str, truncated: bool, reason: str) -> None:  # noqa: FBT001
    """By reason, once; a list without reasons is none either."""
    assert _parse(text, truncated=truncated) == (None, Counter({reason: 1}))


def test_a_list_that_was_cut_keeps_its_whole_lines() -> None:
    """As without reasons."""
    found, drops = _parse(f"{WHY}{HINTS}tent\nsleeping b", truncated=True)
    assert found is not None
    assert [one.query for one in found.queries] == ["tent"]
    assert drops == {"truncated": 1}


def test_a_prompt_asks_for_reasons_at_its_end() -> None:
    """It tells the same of the trigger."""
    assert with_reasons(render_x2q_item("Tent", "Tents")) == "<x2q><item>\ntent<category>\ntents<reasons>"
    assert len(WHY) < MAX_CHARS


def test_lessons_come_back_from_their_file(tmp_path: Path) -> None:
    """All of them, in order, to who names the same dataset."""
    path = tmp_path / "new" / "reasons.parquet"
    lessons = [Lesson("item:1", f"<x2q><item>\ntent{HINTS}", WHY, ["lamp", "stove"], "knowledge")] * 2
    write_lessons(path, lessons, MADE_FROM)
    assert list(read_lessons(path, MADE_FROM)) == lessons
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    with pytest.raises(ArtefactError, match="another dataset"):
        list(read_lessons(path, {"manifest_blake2b": "other"}))


def test_lessons_of_held_out_days_are_for_serving_alone(tmp_path: Path) -> None:
    """A model that learned them, or an evaluation, would know the answers."""
    path = tmp_path / "all.parquet"
    lessons = [Lesson("item:1", f"<x2q><item>\ntent{HINTS}", WHY, ["lamp", "stove"], "knowledge")]
    write_lessons(path, lessons, MADE_FROM, held_out=True)
    assert list(read_lessons(path, MADE_FROM, serving=True)) == lessons
    with pytest.raises(ArtefactError, match="without --everybody"):
        list(read_lessons(path, MADE_FROM))


def test_another_file_is_refused(tmp_path: Path) -> None:
    """Absent, no Parquet, or Parquet of something else: said with the command that makes one."""
    (tmp_path / "text").write_text("{}")
    pl.DataFrame({"trigger": ["a"]}).write_parquet(tmp_path / "other")
    for name in ("absent", "text", "other"):
        with pytest.raises(ArtefactError, match="aigq think distil"):
            list(read_lessons(tmp_path / name, MADE_FROM))
