"""A list with its reasons (AIGQ-Think): `rationale <hints> list`, answering a prompt that ends in `<reasons>`.

The rationale says what goes with the trigger, which categories come next and why. It is there so that the list follows
from it; it is untrusted text, is never shown to a shopper, and what does not parse strictly is no list at all.

Distilled answers are a file (`Lesson` is a row): the Think job writes it, training reads it.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import orjson
import polars as pl

from service.contracts.codecs import ScoredQuery
from service.contracts.errors import ArtefactError
from service.contracts.keys import Trigger
from service.contracts.text import clean
from workers.common.dataset import Dataset
from workers.common.generator import Generation
from workers.common.list_parser import parse_list
from workers.common.prompt import HINTS, REASONS, render_list

MAX_CHARS: Final = 320
"""Of a rationale."""
_SCHEMA: Final = pl.Schema(
    {
        "trigger": pl.String(),
        "prompt": pl.String(),
        "rationale": pl.String(),
        "queries": pl.List(pl.String()),
        "teacher": pl.String(),
    }
)
_MADE_FROM: Final = "aigq_reasons"
_HELD_OUT: Final = "held_out"
"""Whether shoppers and days that evaluation looks at were looked at."""


@dataclass(frozen=True, slots=True)
class Reasoned:
    """A rationale and its list."""

    rationale: str
    queries: tuple[ScoredQuery, ...]


@dataclass(frozen=True, slots=True)
class Lesson:
    """What one trigger's answer is to be; `prompt` is the one that asks for a list alone."""

    trigger: str
    prompt: str
    rationale: str
    queries: Sequence[str]
    teacher: str


def render_reasoned(rationale: str, queries: Sequence[str]) -> str:
    """Return the completion that training teaches."""
    return f"{rationale}{HINTS}{render_list(queries)}"


def fault(rationale: str) -> str | None:
    """Return why a text is no rationale (a bounded label), or None if it is one."""
    if not any(char.isalpha() for char in rationale):
        return "no_reasons"
    if len(rationale) > MAX_CHARS:
        return "reasons_long"
    # One clean line that opens no field.
    return "reasons_unclean" if rationale != clean(rationale) or set("<>") & set(rationale) else None


def parse_reasoned(
    generation: Generation, drops: Counter[str], refuses: Callable[[str], str | None], exclude: Collection[str] = ()
) -> Reasoned | None:
    """Return what a model wrote to a prompt with reasons; None, with a reason in `drops`, if it is not of the form.

    Of the list, lines are dropped and counted one by one as `parse_list` does; a list of which nothing is left is
    `empty_list`.
    """
    said, mark, rest = generation.text.partition(HINTS)
    rationale = said.strip()  # chat models like lines
    problem = fault(rationale)
    if not mark:
        problem = "reasons_cut" if generation.truncated else "no_list"
    elif HINTS in rest or REASONS in rest:
        problem = "two_lists"
    if problem is not None:
        drops[problem] += 1
        return None
    queries = parse_list(replace(generation, text=rest), drops, refuses, exclude)
    if not queries:
        drops["empty_list"] += 1
        return None
    return Reasoned(rationale, queries)


def answer_of(lesson: Lesson, prompt: str) -> Generation:
    """Return what a teacher answered as a model would have written it, to a prompt with reasons or without."""
    if prompt.endswith(REASONS):
        return Generation(render_reasoned(lesson.rationale, lesson.queries), 0, truncated=False)
    return Generation(render_list(lesson.queries), 0, truncated=False)


def parse_answer(
    prompt: str,
    generation: Generation,
    drops: Counter[str],
    refuses: Callable[[str], str | None],
    exclude: Collection[str] = (),
) -> Reasoned | None:
    """Return the answer to a prompt with or without reasons, None if there is none; see `parse_reasoned`."""
    if prompt.endswith(REASONS):
        return parse_reasoned(generation, drops, refuses, exclude)
    queries = parse_list(generation, drops, refuses, exclude)
    return Reasoned("", queries) if queries else None


def write_lessons(
    path: Path, lessons: Sequence[Lesson], made_from: Mapping[str, Any], *, held_out: bool = False
) -> None:
    """Write the file whole and give it its name in one rename; `made_from` names the dataset (`provenance`).

    `held_out`: they tell of shoppers and days that evaluation looks at, so they are for serving alone.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.draft")
    frame = pl.DataFrame([asdict(one) for one in lessons], schema=_SCHEMA)
    frame.write_parquet(draft, metadata={_MADE_FROM: orjson.dumps({**made_from, _HELD_OUT: held_out}).decode()})
    draft.replace(path)


def read_lessons(path: Path, made_from: Mapping[str, Any], *, serving: bool = False) -> Iterator[Lesson]:
    """Yield the lessons of a file; `serving`: also of one that is for serving alone.

    Raises:
        ArtefactError: it is missing or broken, is for serving alone, or comes from another dataset, whose held-out days
            are others.
    """
    fix = "make it with: aigq think distil"
    try:
        known = orjson.loads(pl.read_parquet_metadata(path)[_MADE_FROM])
        rows = pl.read_parquet(path, columns=_SCHEMA.names()).cast(_SCHEMA)
    except (pl.exceptions.PolarsError, OSError, KeyError, orjson.JSONDecodeError) as error:
        raise ArtefactError(f"{path}: is no file of distilled reasons ({error}); {fix}") from None
    digest = "manifest_blake2b"
    if known.get(digest) != made_from[digest]:
        raise ArtefactError(f"{path}: was distilled from another dataset; {fix}")
    if known.get(_HELD_OUT) and not serving:
        raise ArtefactError(f"{path}: tells of held-out shoppers and days, to publish alone; {fix} without --everybody")
    for row in rows.iter_rows(named=True):
        yield Lesson(**row)


def lessons_by_trigger(path: Path | None, data: Path, *, serving: bool = False) -> dict[Trigger, Lesson]:
    """Return the lessons of a file, if one is named, that was distilled from the dataset in `data`: `read_lessons`."""
    if path is None:
        return {}
    return {one.trigger: one for one in read_lessons(path, Dataset(data).provenance(), serving=serving)}
