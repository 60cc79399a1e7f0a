"""Asks checkpoints on vLLM servers: each model's own lists, and the rows as served with the first one's."""

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from service.contracts.keys import Trigger
from service.contracts.settings import Settings, VllmSettings
from service.ranking.calibration import BY_HAND, Calibration
from service.ranking.catalogue import Catalogue
from workers.common.generator import Generation
from workers.common.prompt import with_reasons
from workers.common.ranked_list import Ranker, candidates_taught, penalties_of, plain_taught
from workers.common.reasons import Lesson, answer_of
from workers.common.triggers import TriggerPrompt
from workers.evaluation.cases import Split
from workers.evaluation.merged import THINK, served, trigger_lists, wanted
from workers.evaluation.methods import Method
from workers.evaluation.model import ModelLists, candidates_of, plain_prompt_of, prompt_of
from workers.evaluation.server import serving

URL: Final = "AIGQ_VLLM_URL"

Advance = Callable[[str, int, int], None]
"""Called with a stage's name, how much of it was done (parameter sets, prompts), and how much there is."""
How = Callable[..., Coroutine[Any, Any, dict[str, Generation]]]
"""A way to ask: `generate.generate`, or `next_query.likeliest`."""
Serve = Callable[[Path, str, VllmSettings], AbstractContextManager[VllmSettings]]


class Rendered(NamedTuple):
    """The prompts of all cases by user id, in their own tokens and in plain language; both tell the same."""

    compressed: Mapping[str, str]
    plain: Mapping[str, str]


@dataclass(frozen=True)
class Asker:
    """What is asked of every checkpoint. `weights`: of sources, the served rows once for each.

    `triggers`: those that the Think job would fill, by `lessons` where there is one. `serve` starts a server on a
    checkpoint.
    """

    split: Split
    triggers: Sequence[TriggerPrompt]
    catalogue: Catalogue
    settings: Settings
    ranker: Ranker | None
    advance: Advance
    weights: Sequence[Calibration] = (BY_HAND,)
    lessons: Mapping[Trigger, Lesson] = field(default_factory=dict)
    serve: Serve = serving
    _rendered: dict[int, Rendered] = field(init=False, default_factory=dict)
    """By how many candidates prompts tell: ranking every case again for each checkpoint would give the same."""

    def alone(self, name: str, path: Path, how: How) -> ModelLists:
        """Return the lists of a checkpoint that is only compared."""
        with self._server(name, path) as vllm:
            return self._lists(vllm, name, path, how)

    def served(
        self, name: str, path: Path, think: Path | None, how: How
    ) -> tuple[ModelLists, list[Method], dict[str, Any]]:
        """Return the lists of the checkpoint that is served, the rows `ROWS`, and what became of the triggers' lists.

        Those are of the checkpoint `think`, or of the same. A server that `URL` names is used for the one served.
        """
        some = wanted(self.triggers, self.split.test, self.catalogue)
        if self.settings.think.reasoning:
            some = [replace(one, prompt=with_reasons(one.prompt)) for one in some]
        known = self.lessons
        taught = {one.trigger: answer_of(known[one.trigger], one.prompt) for one in some if one.trigger in known}
        prompts = {one.trigger: one.prompt for one in some if one.trigger not in taught}
        with self._server(name, path, given=True) as vllm:
            lists = self._lists(vllm, name, path, how)
            written = {} if think else self._asked(vllm, prompts, f"triggers of {name}", how)
        if think:
            with self._server(THINK, think) as vllm:
                written = self._asked(vllm, prompts, f"triggers of {THINK}", how)
        answers = taught | {key: written[prompt] for key, prompt in prompts.items() if prompt in written}
        drops: Counter[str] = Counter()
        x2q = trigger_lists(some, answers, self.catalogue.refuses, drops)
        about = {
            "checkpoint": (think or path).name,
            "asked": len(prompts),
            "taught": len(taught),
            "filled": len(x2q),
            "reasoning": self.settings.think.reasoning,
            "drops": dict(drops),
        }
        return lists, served(lists, x2q, self.catalogue, self.weights, self.split.now, self.ranker), about

    def _lists(self, vllm: VllmSettings, name: str, path: Path, how: How) -> ModelLists:
        rendered = self.rendered(path)
        prompts = rendered.plain if plain_taught(path) else rendered.compressed
        return ModelLists(name, prompts, self._asked(vllm, prompts, name, how), self.catalogue.refuses)

    def rendered(self, path: Path) -> Rendered:
        """Return the prompts of a checkpoint, with as many candidates as it was taught with."""
        limit = candidates_taught(path)
        if limit not in self._rendered:
            self._rendered[limit] = self._render(limit)
        return self._rendered[limit]

    def _render(self, limit: int) -> Rendered:
        split, now = self.split, self.split.now
        words = {item_id: item.words for item_id, item in self.catalogue.items(list(split.items)).items()}
        titles = {item_id: item.title for item_id, item in split.items.items()}
        compressed: dict[str, str] = {}
        plain: dict[str, str] = {}
        for case in split.test:
            told = candidates_of(case, self.ranker, self.catalogue, now, limit)
            compressed[case.user_id] = prompt_of(case, words, now, told)
            plain[case.user_id] = plain_prompt_of(case, titles, now, told)
        return Rendered(compressed, plain)

    def _asked(self, vllm: VllmSettings, prompts: Mapping[Any, str], stage: str, how: How) -> dict[str, Generation]:
        some = list(dict.fromkeys(prompts.values()))
        return asyncio.run(how(vllm, some, partial(self._told, stage, len(some)))) if some else {}

    def _told(self, stage: str, total: int, done: int) -> None:
        self.advance(stage, done, total)

    @contextmanager
    def _server(self, name: str, path: Path, *, given: bool = False) -> Iterator[VllmSettings]:
        self.advance(f"vLLM for {name}", 0, 1)
        settings = self.settings.vllm.model_copy(update=penalties_of(path))
        if given and URL in os.environ:
            self.advance(f"vLLM for {name}", 1, 1)
            yield settings
            return
        with self.serve(path, name, settings) as vllm:
            self.advance(f"vLLM for {name}", 1, 1)
            yield vllm
