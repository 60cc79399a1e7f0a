"""Make a version: copy the lists whose context is what it was, generate the others, check, flip.

A list's context is its prompt, the model and what the model is asked with. A run that was killed has left lists and
contexts behind, so the next run copies them like those of the current version: resuming is nothing of its own.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Any, Final

import orjson

from service.contracts.codecs import QueryList
from service.contracts.keys import Trigger, trigger_kind
from service.contracts.settings import Settings, VllmSettings
from service.ranking.catalogue import Catalogue
from workers.common.canary import PROMPTS, Canary
from workers.common.engine import Engine, in_turn
from workers.common.generator import Generation, Generator
from workers.common.prompt import render_x2q_category, render_x2q_query, with_reasons
from workers.common.reasons import Lesson, answer_of, parse_answer
from workers.common.triggers import Selection, TriggerPrompt
from workers.think.checks import may_show, problems
from workers.think.compare import Difference, compare
from workers.think.publish import PublishError, X2QStore

_RECIPE: Final = 1
"""Raise it when the parser changes, so that lists are made anew."""
_PROBES: Final = 8
_COPY_BATCH: Final = 500
_REASONS_KEPT: Final = 160
"""Characters of a rationale that are kept, for `aigq think diff`."""


@dataclass(slots=True)
class Report:
    """What a version holds and what it cost; `kinds`: kind of trigger -> (triggers, of which filled).

    `covered`: share of past requests' triggers that were chosen, by kind (`workers.common.triggers`).
    """

    model: str
    covered: Mapping[str, float]
    triggers: int = 0
    filled: int = 0
    queries: int = 0
    copied: int = 0
    taught: int = 0
    """Lists of lessons."""
    generated: int = 0
    tokens: int = 0
    seconds: float = 0.0
    published: float = 0.0
    """Epoch seconds."""
    kinds: dict[str, tuple[int, int]] = field(default_factory=dict)
    drops: dict[str, int] = field(default_factory=dict)
    reasoning: bool = False
    changed: float | None = None
    """Share of lists that changed against the version before; None without one."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is; `tokens_left` goes by what lists cost so far."""

    done: int
    tokens_left: int | None


def trigger_canary(generator: Generator, catalogue: Catalogue, *, reasoning: bool) -> Canary:
    """Return one that asks for the categories of the most popular queries, with reasons if lists have them."""
    popular = catalogue.popular.queries[:PROMPTS]
    categories = [(query, catalogue.query_category(query)) for query in popular]
    prompts = [render_x2q_category(found) if found else render_x2q_query(query) for query, found in categories]
    return Canary(
        generator,
        [with_reasons(one) for one in prompts] if reasoning else prompts,
        lambda prompt, answer, drops: parse_answer(prompt, answer, drops, catalogue.refuses),
    )


def context_digest(prompt: str, settings: VllmSettings, lesson: Lesson | None = None) -> str:
    """Return a short name of all that a list is made from, save the catalogue, by which copies are filtered again."""
    made_from = settings.recipe if lesson is None else [lesson.teacher, lesson.rationale, *lesson.queries]
    return hashlib.blake2b(orjson.dumps([_RECIPE, prompt, *made_from]), digest_size=8).hexdigest()


class Job:
    """One run of `aigq think publish`."""

    def __init__(
        self,
        store: X2QStore,
        generator: Generator,
        catalogue: Catalogue,
        settings: Settings,
        engine: Engine | None = None,
        lessons: Mapping[Trigger, Lesson] = MappingProxyType({}),
    ) -> None:
        """Write to `store` what `generator` makes; `engine` sends batches to the same model, else this process does.

        Triggers that have one of the `lessons` get its list; the model is not asked.
        """
        self._store, self._lessons = store, lessons
        self._generator = generator
        self._engine = engine or partial(in_turn, generator)
        self._catalogue = catalogue
        self._settings = settings
        self._drops: Counter[str] = Counter()
        self._reasons: dict[Trigger, str] = {}

    async def run(
        self, chosen: Selection, progress: Callable[[Progress], None], *, everything: bool = False, force: bool = False
    ) -> tuple[str, Report, Difference | None]:
        """Make a version of the chosen triggers and flip to it. Return it, and its difference to the one before.

        `everything`: copy nothing. `force`: flip although a check says no, unless there is no list at all.

        Raises:
            PublishError: a check says no, or someone else published meanwhile; nothing changed.
            GeneratorError: the model failed; nothing changed.
        """
        await self._generator.check()
        started = time.monotonic()
        version, current = self._store.new_version(), await self._store.current()
        prompts = {one.trigger: self._asked(one) for one in chosen.prompts}
        vllm, think = self._settings.vllm, self._settings.think
        contexts = {key: context_digest(one.prompt, vllm, self._lessons.get(key)) for key, one in prompts.items()}
        report = Report(vllm.model, chosen.covered, len(prompts), reasoning=think.reasoning)
        filled: dict[Trigger, int] = {}
        if not everything:
            filled = await self._copy(version, current, prompts, contexts)
        report.copied = len(filled)
        await self._teach(version, prompts, contexts, filled)
        report.taught = len(filled) - report.copied
        progress(Progress(len(filled), None))
        await self._generate(version, prompts, contexts, filled, report, progress)
        report.filled, report.queries = len(filled), sum(filled.values())
        report.kinds = _by_kind(prompts, filled)
        report.drops, report.seconds = dict(self._drops), round(time.monotonic() - started, 2)
        difference = await compare(self._store, current, version) if current else None
        if difference is not None:
            report.changed = round(difference.changed_share, 4)
        stored = await self._store.lists(version, sorted(filled)[:: max(1, len(filled) // 100)])
        before = (await self._store.info()).get(current or "", {})
        found = problems(
            think, len(prompts), len(filled), difference, stored=stored, refuses=self._catalogue.refuses,
            same_model=before.get("model") == report.model,
        )  # fmt: skip
        if found and (not force or not filled):
            raise PublishError(
                f"not published: {'; '.join(found)}. Dropped: {report.drops}. The current version stays."
                + (" To publish all the same: --force, which goes on from the lists of this run." if filled else "")
            )
        report.published = round(time.time(), 3)
        await self._store.publish(version, asdict(report))
        return version, report, difference

    def _asked(self, one: TriggerPrompt) -> TriggerPrompt:
        return replace(one, prompt=with_reasons(one.prompt)) if self._settings.think.reasoning else one

    async def _copy(
        self,
        version: str,
        current: str | None,
        prompts: Mapping[Trigger, TriggerPrompt],
        contexts: Mapping[Trigger, str],
    ) -> dict[Trigger, int]:
        """Copy the lists that would come out the same, of killed runs first; return their sizes."""
        copied: dict[Trigger, int] = {}
        for source in [*await self._store.unfinished(), *([current] if current else [])]:
            known = await self._store.contexts(source)
            same = [key for key in contexts if key not in copied and known.get(key) == contexts[key]]
            written = [prompts[key] for key in same if key not in self._lessons]
            if await self._model_changed(source, written[:_PROBES]):
                continue
            for start in range(0, len(same), _COPY_BATCH):
                lists = await self._store.lists(source, same[start : start + _COPY_BATCH])
                kept = {key: value for key, value in lists.items() if may_show(value, self._catalogue.refuses)}
                await self._store.stage(version, kept, contexts, await self._store.reasons(source, kept))
                copied |= {key: len(value.queries) for key, value in kept.items()}
        return copied

    async def _teach(
        self,
        version: str,
        prompts: Mapping[Trigger, TriggerPrompt],
        contexts: Mapping[Trigger, str],
        filled: dict[Trigger, int],
    ) -> None:
        """Stage the lists of lessons, and note their sizes in `filled`."""
        known = [prompts[key] for key in prompts if key in self._lessons and key not in filled]
        for start in range(0, len(known), _COPY_BATCH):
            some = known[start : start + _COPY_BATCH]
            answered = ((one, answer_of(self._lessons[one.trigger], one.prompt)) for one in some)
            await self._stage(version, answered, contexts, filled)

    async def _model_changed(self, source: str, probes: Sequence[TriggerPrompt]) -> bool:
        """Whether the model, of the same name, writes other lists than it did: most of a few, asked anew.

        With a temperature every list is a draw, which says nothing; a new checkpoint then needs a new name, or `--all`.
        """
        if not probes or self._settings.vllm.temperature > 0:
            return False
        known = await self._store.lists(source, [one.trigger for one in probes])
        generations = await self._generator.generate([one.prompt for one in probes])
        lists = self._lists(zip(probes, generations, strict=True), Counter())
        # Texts alone: stored scores are rounded.
        same = sum(key in known and value.texts == known[key].texts for key, value in lists.items())
        return 2 * same < len(probes)

    async def _generate(
        self,
        version: str,
        prompts: Mapping[Trigger, TriggerPrompt],
        contexts: Mapping[Trigger, str],
        filled: dict[Trigger, int],
        report: Report,
        progress: Callable[[Progress], None],
    ) -> None:
        """Generate what is not filled and has no lesson, and note the sizes of the lists in `filled`."""
        wanted = [one for key, one in prompts.items() if key not in filled and key not in self._lessons]
        async for answers in self._engine([one.prompt for one in wanted], self._settings.think.batch_size):
            await self._stage(version, ((wanted[at], generation) for at, generation in answers), contexts, filled)
            report.tokens += sum(generation.tokens for _, generation in answers if generation is not None)
            report.generated += len(answers)
            left = len(wanted) - report.generated
            progress(Progress(len(prompts) - left, round(left * report.tokens / report.generated)))

    async def _stage(
        self,
        version: str,
        answered: Iterable[tuple[TriggerPrompt, Generation | None]],
        contexts: Mapping[Trigger, str],
        filled: dict[Trigger, int],
    ) -> None:
        """Keep the lists that came out, and note their sizes in `filled`."""
        lists = self._lists(answered, self._drops)
        await self._store.stage(version, lists, contexts, self._reasons)
        self._reasons.clear()
        filled.update({key: len(value.queries) for key, value in lists.items()})

    def _lists(
        self, answered: Iterable[tuple[TriggerPrompt, Generation | None]], drops: Counter[str]
    ) -> dict[Trigger, QueryList]:
        """Return the lists that came out."""
        now_ms = round(time.time() * 1000)
        found = ((one.trigger, self._parse(one, generation, drops, now_ms)) for one, generation in answered)
        return {trigger: value for trigger, value in found if value is not None}

    def _parse(
        self, one: TriggerPrompt, generation: Generation | None, drops: Counter[str], now_ms: int
    ) -> QueryList | None:
        if generation is None:
            drops["refused"] += 1
            return None
        found = parse_answer(one.prompt, generation, drops, self._catalogue.refuses, one.excluded)
        if found is None:
            return None
        if found.rationale:
            self._reasons[one.trigger] = found.rationale[:_REASONS_KEPT]
        lesson = self._lessons.get(one.trigger)
        return QueryList(0, now_ms, self._settings.vllm.model if lesson is None else lesson.teacher, found.queries)


def _by_kind(prompts: Mapping[Trigger, Any], filled: Mapping[Trigger, int]) -> dict[str, tuple[int, int]]:
    asked, got = Counter(map(trigger_kind, prompts)), Counter(map(trigger_kind, filled))
    return {kind: (asked[kind], got[kind]) for kind in sorted(asked)}
