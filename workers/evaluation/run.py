"""One evaluation from dataset to report: split, tune, generate, measure."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from polars.exceptions import PolarsError

from service.contracts.errors import ArtefactError, ConfigError
from service.contracts.settings import Settings, VllmSettings
from service.ranking.calibration import BY_HAND
from service.ranking.catalogue import Catalogue
from workers.common.calibrate import calibrate, open_scorer
from workers.common.dataset import ITEMS, Dataset
from workers.common.generator import Generation
from workers.common.prompt import with_reasons
from workers.common.ranked_list import Ranker, candidates_taught, open_ranker, ranker_beside
from workers.evaluation import checkpoint, learned
from workers.evaluation.baselines import NAMES, tuned_baselines
from workers.evaluation.cases import Split, read_split
from workers.evaluation.generate import generate
from workers.evaluation.judge import judge_of, judged
from workers.evaluation.measure import MAIN, NOVEL, Suggested, by_stratum, measure
from workers.evaluation.merged import ROWS, TriggerLists, served, trigger_lists, trigger_prompts
from workers.evaluation.methods import Method, Tuned
from workers.evaluation.model import ModelLists, candidates_of, plain_prompt_of, prompt_of, quality
from workers.evaluation.next_query import likeliest
from workers.evaluation.sample_shop import sample_shop
from workers.evaluation.server import preflight, serving
from workers.evaluation.words import WordIndex

_URL: Final = "AIGQ_VLLM_URL"
Report = dict[str, Any]
"""The figures as JSON values; docs/evaluation.md says what each is."""
Advance = Callable[[str, int, int], None]
"""Called with a stage's name, how much of it was done (parameter sets, prompts), and how much there is."""


@dataclass(frozen=True)
class Plan:
    """What to evaluate. Without `data` it is the sample shop.

    `models` maps a row's name to a checkpoint; the first is the one that is served as `aigq`. Those in `next_query`
    were taught the next query alone. `judge` is a CTR ranker of other shoppers, `ctr` one that weighs sources for rows
    of their own.
    `ranker` orders the lists of the served one, as `direct.ranker` does; default: the directory beside it, if there.
    """

    data: Path | None = None
    models: Mapping[str, Path] = field(default_factory=dict)
    next_query: frozenset[str] = frozenset()
    judge: Path | None = None
    ctr: Path | None = None
    ranker: Path | None = None
    cases: int = 2000
    learners: int = 50_000
    min_items: int = 1
    seed: int = 7


def evaluate(plan: Plan, settings: Settings, advance: Advance) -> Report:
    """Return the report of `plan`.

    Raises:
        ArtefactError: dataset or checkpoint cannot be used; the message names the file and the fix.
        ConfigError: a library, vLLM or a name is missing or wrong.
        GeneratorError: the model server failed.
    """
    _check(plan)
    scorer = None if plan.judge is None else judge_of(plan.judge)
    weigher = None if plan.ctr is None else open_scorer(plan.ctr)
    ranker = _ranker(plan)
    seconds: dict[str, float] = {}
    dataset = Dataset(plan.data or sample_shop())
    with _timed(seconds, "read"):
        split = _split(dataset, plan)
    with _timed(seconds, "baselines"):
        baselines = list(tuned_baselines(split, plan.seed, lambda name, total: advance(name, 1, total)))
        suggested = {one.name: Suggested.by(one, split.test) for one in baselines}
    index = WordIndex(split.items, plan.min_items)
    report: Report = {"data": _about(dataset, split, plan)}
    if plan.models:
        with _timed(seconds, "models"), TemporaryDirectory() as folder:
            with closing(learned.catalogue(dataset, split, Path(folder))) as catalogue:
                report["generation"] = {}
                weights = [BY_HAND]
                if weigher is not None:
                    weights.append(calibrate(catalogue, dataset, weigher, advance=partial(advance, "weigh sources")))
                    report["calibration"] = weights[-1].as_json()
                for place, (name, path) in enumerate(plan.models.items()):
                    ask = likeliest if name in plan.next_query else generate
                    asked = _ask(name, path, split, catalogue, settings, advance, ranker, ask=ask, merged=place == 0)
                    methods: list[Method] = [asked.lists]
                    if asked.x2q is not None:
                        methods += served(asked.lists, asked.x2q, catalogue, weights, split.now, ranker)
                        report["triggers"] = asked.triggers
                    suggested |= {one.name: Suggested.by(one, split.test) for one in methods}
                    report["generation"][name] = _generation(asked.lists, split, catalogue, index, path)
            report |= {key: report["generation"][next(iter(plan.models))][key] for key in _TOP_LEVEL}
    with _timed(seconds, "measure"):
        names = [one.name for one in baselines]
        report["methods"], report["best_baseline"] = measure(suggested, split, index, names, plan.seed)
        if scorer is not None:
            shown = {name: one.novel for name, one in suggested.items()}
            for name, figures in judged(shown, split, scorer, plan.seed).items():
                report["methods"][name] |= figures
        report["strata"] = by_stratum(suggested, split, plan.seed)
        report["targets"] = _targets(split, index)
    report["cold"] = report["strata"]["history"]["cold"]["methods"]
    report["tuned"] = {one.name: _tuned(one) for one in baselines}
    report["seconds"] = seconds
    return report


def _check(plan: Plan) -> None:
    """Refuse what cannot end well before anything takes time."""
    if taken := plan.models.keys() & {*ROWS, *NAMES}:
        raise ConfigError(f"{', '.join(sorted(taken))}: is the name of another row; give the checkpoint another one")
    for path in plan.models.values():
        checkpoint.check(path)
    # The first may be on a server that is there.
    if len(plan.models) > (1 if _URL in os.environ else 0):
        preflight()


def _ranker(plan: Plan) -> Ranker | None:
    folder = plan.ranker
    if folder is None and plan.models:
        beside = ranker_beside(next(iter(plan.models.values())))
        folder = beside if beside.exists() else None
    return None if folder is None else open_ranker(folder)


def _split(dataset: Dataset, plan: Plan) -> Split:
    try:
        split = read_split(dataset, cases=plan.cases, learners=plan.learners)
    except PolarsError as error:
        raise ArtefactError(
            f"{dataset.root}: cannot be read ({error}); generate or import the dataset again"
        ) from error
    if plan.models and not split.items:
        raise ArtefactError(
            f"{dataset.root / ITEMS}: has no items, which prompts and merge need; import items, or use --baselines-only"
        )
    return split


_TOP_LEVEL: Final = ("format_valid", "in_catalogue", "dup_rate", "tokens_plain", "tokens_compressed")


@dataclass(frozen=True)
class _Asked:
    lists: ModelLists
    x2q: TriggerLists | None = None
    """What triggers lead to, of the model that is served."""
    triggers: Report | None = None
    """What became of those lists."""


def _ask(
    name: str,
    path: Path,
    split: Split,
    catalogue: Catalogue,
    settings: Settings,
    advance: Advance,
    ranker: Ranker | None,
    *,
    ask: Callable[..., Coroutine[Any, Any, dict[str, Generation]]],
    merged: bool,
) -> _Asked:
    """Return the lists of one checkpoint and, if it is the one served, those of the triggers."""
    words = {item_id: item.words for item_id, item in catalogue.items(list(split.items)).items()}
    limit = candidates_taught(path)
    prompts = {
        case.user_id: prompt_of(case, words, split.now, candidates_of(case, ranker, catalogue, split.now, limit))
        for case in split.test
    }
    think = settings.think
    triggers = trigger_prompts(split, split.test, catalogue, think.max_items) if merged else {}
    if think.reasoning:
        triggers = {key: with_reasons(prompt) for key, prompt in triggers.items()}
    advance(f"vLLM for {name}", 0, 1)
    with _server(path, name, settings, given=merged) as vllm:
        advance(f"vLLM for {name}", 1, 1)
        generations: dict[str, Generation] = {}
        for how, wanted, what in ((vllm, prompts, name), (think.asks(vllm), triggers, f"triggers of {name}")):
            some = list(dict.fromkeys(wanted.values()))
            if some:
                generations |= asyncio.run(ask(how, some, partial(_told, advance, what, len(some))))
    lists = ModelLists(name, prompts, generations, catalogue.finds)
    if not merged:
        return _Asked(lists)
    drops: Counter[str] = Counter()
    x2q = trigger_lists(triggers, generations, catalogue.finds, drops)
    about = {"asked": len(triggers), "filled": len(x2q), "reasoning": think.reasoning, "drops": dict(drops)}
    return _Asked(lists, x2q, about)


def _told(advance: Advance, stage: str, total: int, done: int) -> None:
    advance(stage, done, total)


@contextmanager
def _server(path: Path, name: str, settings: Settings, *, given: bool) -> Iterator[VllmSettings]:
    """Use the server that AIGQ_VLLM_URL names for the main checkpoint; start one otherwise."""
    if given and _URL in os.environ:
        yield settings.vllm
        return
    with serving(path, name, settings.vllm) as vllm:
        yield vllm


def _about(dataset: Dataset, split: Split, plan: Plan) -> Report:
    shown = ("source", "generator", "shop_hash", "seed", "shoppers", "days", "events", "from", "to")
    return {
        "name": dataset.root.name,
        **{key: dataset.manifest[key] for key in shown if key in dataset.manifest},
        "cut_off": split.now,
        "learners": len(split.learners),
        "validation_cases": len(split.validation),
        "cases": len(split.test),
        "novel_cases": sum(bool(case.novel_targets) for case in split.test),
        "available_cases": split.available["test"],
        "min_items": plan.min_items,
        "evaluation_seed": plan.seed,
    }


def _generation(lists: ModelLists, split: Split, catalogue: Catalogue, index: WordIndex, path: Path) -> Report:
    prompts = [lists.prompts[case.user_id] for case in split.test]
    titles = {item_id: item.title for item_id, item in split.items.items()}
    plain = [plain_prompt_of(case, titles, split.now) for case in split.test]
    found = quality([lists.generations.get(prompt) for prompt in prompts], catalogue.finds)
    return {
        "checkpoint": path.name,
        "format_valid": found.format_valid,
        "in_catalogue": index.share(found.lists),
        "dup_rate": found.dup_rate,
        "nothing_rate": found.nothing_rate,
        "drops": found.drops,
        "tokens_plain": checkpoint.mean_tokens(path, plain),
        "tokens_compressed": checkpoint.mean_tokens(path, prompts),
    }


def _targets(split: Split, index: WordIndex) -> Report:
    """Return what the real next searches are like, to read the lists' figures against."""
    real = [list(case.targets) for case in split.test]
    counts = Counter(query in split.queries for one in real for query in one)
    return {
        "in_catalogue": index.share(real),
        "coverage": index.coverage(real),
        "known": counts[True] / max(1, counts.total()),
        "searched_before": 1 - sum(len(case.novel_targets) for case in split.test) / max(1, sum(map(len, real))),
    }


def _tuned(one: Tuned) -> Report:
    return {
        "all": dict(one.params),
        "novel": dict(one.novel_params),
        f"validation_{MAIN}": one.validation[0],
        f"validation_{NOVEL}{MAIN}": one.validation[1],
    }


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    seconds[stage] = round(time.perf_counter() - began, 1)
