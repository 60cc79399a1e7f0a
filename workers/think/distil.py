"""Make lessons: for each trigger what the logs say, a teacher's answer to it, and what is left of that after checks.

A teacher's answers are kept beside the lessons by what was asked, one a line as they come, so that a run that was
stopped, or is done again, asks only for what is new. The lessons are written whole, at the end.
"""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import orjson

from service.contracts.errors import GeneratorUnavailable
from service.contracts.text import clean
from workers.common.generator import Generation
from workers.common.list_parser import parse_list, refusing
from workers.common.reasons import Lesson, fault
from workers.common.triggers import TriggerPrompt
from workers.think import knowledge
from workers.think.evidence import Logs
from workers.think.knowledge import Answer
from workers.think.teacher import Endpoint, OverBudget, Teacher, TeacherTimeout, read_reply

MIN_QUERIES: Final = 3
"""A shorter list teaches that lists are short."""
_PATIENCE: Final = 8
"""Triggers in a row without an answer after which a teacher is given up."""


@dataclass(slots=True)
class Report:
    """What became of the triggers; `drops`: why triggers got no lesson, and why queries left their lists."""

    teacher: str
    triggers: int
    lessons: int = 0
    asked: int = 0
    known: int = 0
    tokens: int = 0
    cost: float = 0.0
    drops: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


class Answers:
    """The file of answers; a line that a kill cut short is as good as absent."""

    def __init__(self, path: Path) -> None:
        """Read what is there."""
        self._known: dict[str, str] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_bytes().split(b"\n") if path.exists() else []
        for line in filter(None, lines):
            try:
                key, text = orjson.loads(line)
            except (ValueError, TypeError):
                continue
            self._known[key] = text
        self._file = path.open("ab")
        if lines and lines[-1]:
            self._file.write(b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def get(self, request: bytes) -> str | None:
        """Return the answer to a request, if it is known."""
        return self._known.get(_digest(request))

    def keep(self, request: bytes, text: str) -> None:
        """Note an answer, at once."""
        self._known[_digest(request)] = text
        self._file.write(orjson.dumps([_digest(request), text]) + b"\n")
        self._file.flush()


def _digest(request: bytes) -> str:
    return hashlib.blake2b(request, digest_size=16).hexdigest()


class Distiller:
    """Makes lessons of triggers. `drops` and `report` count."""

    def __init__(self, logs: Logs, finds: Callable[[str], bool], report: Report) -> None:
        """`finds`: whether the shop has something for a query."""
        self._logs, self._refuses = logs, refusing(finds)
        self.report = report
        self.drops: Counter[str] = Counter()

    def by_rule(self, chosen: Sequence[TriggerPrompt], progress: Callable[[int], None]) -> list[Lesson]:
        """Return the lessons of the teacher without a model (`workers.think.knowledge`)."""
        lessons: list[Lesson] = []
        for one in chosen:
            evidence = self._logs.evidence(one.trigger)
            found = knowledge.answer(evidence, self._logs.top, self._logs.category_of)
            lessons += self._lesson(one, found, knowledge.NAME, "no_evidence")
            progress(1)
        return self._done(lessons)

    async def by_model(
        self,
        chosen: Sequence[TriggerPrompt],
        endpoint: Endpoint,
        teacher: Teacher,
        answers: Answers,
        in_flight: int,
        progress: Callable[[int], None],
    ) -> list[Lesson]:
        """Return the lessons of a model, `in_flight` of whose answers are waited for at once.

        Triggers that the teacher leaves without a usable answer are counted; from the budget's end on, all are.

        Raises:
            GeneratorError: the endpoint cannot be used, or answered nothing for `_PATIENCE` triggers in a row.
        """
        gate = asyncio.Semaphore(in_flight)
        silent = 0

        async def learn(one: TriggerPrompt) -> list[Lesson]:
            nonlocal silent
            async with gate:
                found, problem = await self._ask(one, teacher, answers)
            if problem == "timeout":
                silent += 1
            elif problem not in {"no_evidence", "over_budget"}:  # it answered
                silent = 0
            if silent >= _PATIENCE:
                raise GeneratorUnavailable(
                    f"the teacher at {endpoint.url} left {silent} triggers in a row without an answer "
                    f"(--timeout {endpoint.timeout_s} s, {endpoint.retries} retries); what it answered before is kept"
                )
            progress(1)
            return self._lesson(one, found, endpoint.name, problem)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(learn(one)) for one in chosen]
        except ExceptionGroup as failed:  # the first one ended the others
            raise failed.exceptions[0] from None
        return self._done([lesson for task in tasks for lesson in task.result()])

    async def _ask(self, one: TriggerPrompt, teacher: Teacher, answers: Answers) -> tuple[Answer | None, str]:
        """Return the answer to a trigger, or None and why there is none."""
        evidence = self._logs.evidence(one.trigger)
        if not evidence.says:
            return None, "no_evidence"
        request = teacher.request(evidence)
        text = answers.get(request)
        if text is None:
            try:
                text = await teacher.ask(request)
            except OverBudget:
                return None, "over_budget"
            except TeacherTimeout:
                return None, "timeout"
            self.report.asked += 1
            answers.keep(request, text)
        else:
            self.report.known += 1
        reply = read_reply(text)
        return (None, "nonsense") if reply is None else (Answer(clean(reply.rationale).lower(), reply.queries), "")

    def _lesson(self, one: TriggerPrompt, found: Answer | None, teacher: str, problem: str) -> list[Lesson]:
        """Return the lesson, if an answer is one; what a model wrote is checked like any model's text."""
        if found is None:
            self.drops[problem] += 1
            return []
        if wrong := fault(found.rationale):
            self.drops[wrong] += 1
            return []
        written = Generation("\n".join(" ".join(query.split()) for query in found.queries), 0, truncated=False)
        kept = parse_list(written, self.drops, self._refuses, one.excluded)
        if len(kept) < MIN_QUERIES:
            self.drops["few_queries"] += 1
            return []
        return [Lesson(one.trigger, one.prompt, found.rationale, [row.query for row in kept], teacher)]

    def _done(self, lessons: list[Lesson]) -> list[Lesson]:
        self.report.lessons, self.report.drops = len(lessons), dict(sorted(self.drops.items()))
        return lessons
