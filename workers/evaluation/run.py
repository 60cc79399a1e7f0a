"""One evaluation from dataset to report: split, tune, generate, measure."""

import os
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

import polars as pl
from polars.exceptions import PolarsError

from service.contracts.errors import ArtefactError, ConfigError
from service.contracts.settings import Settings
from service.ranking.calibration import BY_HAND
from service.ranking.catalogue import Catalogue
from workers.common.calibrate import calibrate
from workers.common.click_order import open_scorer
from workers.common.dataset import ITEMS, Dataset
from workers.common.ranked_list import Ranker, open_ranker, shipped_ctr, shipped_ranker
from workers.common.reasons import lessons_by_trigger
from workers.common.timed import timed
from workers.common.triggers import select_for
from workers.evaluation import checkpoint, learned
from workers.evaluation.ask import URL, Advance, Asker, Rendered
from workers.evaluation.baselines import NAMES, tuned_baselines
from workers.evaluation.by_case import by_case
from workers.evaluation.cases import Split, read_split
from workers.evaluation.generate import generate
from workers.evaluation.judge import judge_of, judged
from workers.evaluation.measure import MAIN, NOVEL, Suggested, by_stratum, measure
from workers.evaluation.merged import ROWS
from workers.evaluation.methods import Method, Tuned
from workers.evaluation.model import ModelLists, quality
from workers.evaluation.next_query import likeliest
from workers.evaluation.sample_shop import sample_shop
from workers.evaluation.server import preflight
from workers.evaluation.shown import drawn
from workers.evaluation.words import WordIndex

Report = dict[str, Any]
"""The figures as JSON values; docs/evaluation.md says what each is."""


@dataclass(frozen=True)
class Plan:
    """What to evaluate. Without `data` it is the sample shop.

    `models` maps a row's name to a checkpoint; the first is the one that is served as `aigq`. Those in `next_query`
    were taught the next query alone. `judge` is a CTR ranker of other shoppers.
    `ranker` orders the lists of the served one, as `direct.ranker` does; default: the directory beside it, if there.
    """

    data: Path | None = None
    models: Mapping[str, Path] = field(default_factory=dict)
    next_query: frozenset[str] = frozenset()
    judge: Path | None = None
    ctr: Path | None = None
    """The CTR ranker towards whose clicks those lists lean, as `direct.ctr` does; default as for `ranker`."""
    ranker: Path | None = None
    think: Path | None = None
    """The checkpoint of the triggers' lists, if it is not the one served."""
    lessons: Path | None = None
    """Lists of triggers that are published as they are (`aigq think publish --lessons`)."""
    calibrated: bool = False
    """Whether the CTR ranker also weighs the sources, in rows of their own."""
    cases: int = 2000
    learners: int = 50_000
    min_items: int = 1
    seed: int = 7
    show: int = 0
    """Shoppers to draw and tell of."""


class Evaluation(NamedTuple):
    """The report, and what every row suggested for each case (`by_case`)."""

    report: Report
    cases: pl.DataFrame


def evaluate(plan: Plan, settings: Settings, advance: Advance) -> Evaluation:
    """Return the evaluation of `plan`.

    Raises:
        ArtefactError: dataset or checkpoint cannot be used; the message names the file and the fix.
        ConfigError: a library, vLLM or a name is missing or wrong.
        GeneratorError: the model server failed.
    """
    _check(plan)
    scorer = None if plan.judge is None else judge_of(plan.judge)
    ctr = plan.ctr or _beside(plan, shipped_ctr)
    if plan.calibrated and ctr is None:
        raise ConfigError("--calibrated needs a CTR ranker, and none lies beside the model: name one with --ctr")
    weigher = open_scorer(ctr) if plan.calibrated and ctr is not None else None
    ranker = _ranker(plan, ctr)
    seconds: dict[str, float] = {}
    dataset = Dataset(plan.data or sample_shop())
    with timed(seconds, "read"):
        split, lessons = _split(dataset, plan), lessons_by_trigger(plan.lessons, dataset.root)
    with timed(seconds, "baselines"):
        baselines = list(tuned_baselines(split, plan.seed, lambda name, total: advance(name, 1, total)))
        suggested = {one.name: Suggested.by(one, split.test) for one in baselines}
    index = WordIndex(split.items, plan.min_items)
    report: Report = {"data": _about(dataset, split, plan)}
    if plan.models:
        with timed(seconds, "models"), TemporaryDirectory() as folder:
            with closing(learned.catalogue(dataset, split, Path(folder))) as catalogue:
                report["generation"] = {}
                weights = [BY_HAND]
                if weigher is not None:
                    weights.append(calibrate(catalogue, dataset, weigher, advance=partial(advance, "weigh sources")))
                    report["calibration"] = weights[-1].as_json()
                asker = Asker(
                    split,
                    select_for(dataset.root, settings, learning=True),
                    catalogue,
                    settings,
                    ranker,
                    advance,
                    weights,
                    lessons,
                )
                for place, (name, path) in enumerate(plan.models.items()):
                    how = likeliest if name in plan.next_query else generate
                    rows: list[Method] = []
                    if place:
                        lists = asker.alone(name, path, how)
                    else:
                        lists, rows, report["triggers"] = asker.served(name, path, plan.think, how)
                    suggested |= {one.name: Suggested.by(one, split.test) for one in (lists, *rows)}
                    report["generation"][name] = _generation(lists, asker.rendered(path), catalogue, index, path)
            report |= {key: report["generation"][next(iter(plan.models))][key] for key in _TOP_LEVEL}
    with timed(seconds, "measure"):
        names = [one.name for one in baselines]
        report["methods"], report["best_baseline"] = measure(suggested, split, index, names, plan.seed)
        if scorer is not None:
            shown = {name: one.novel for name, one in suggested.items()}
            for name, figures in judged(shown, split, scorer, plan.seed).items():
                report["methods"][name] |= figures
        report["strata"] = by_stratum(suggested, split, names, plan.seed)
        report["targets"] = _targets(split, index)
    report["cold"] = report["strata"]["history"]["cold"]["methods"]
    report["tuned"] = {one.name: _tuned(one) for one in baselines}
    if plan.show:
        told = {name: one for name, one in suggested.items() if name not in names}
        best = report["best_baseline"]["novel"]
        report["shown"] = drawn({best: suggested[best], **told}, split, plan.show, plan.seed)
    report["seconds"] = seconds
    return Evaluation(report, by_case(suggested, split.test))


def _check(plan: Plan) -> None:
    """Refuse what cannot end well before anything takes time."""
    if taken := plan.models.keys() & {*ROWS, *NAMES}:
        raise ConfigError(f"{', '.join(sorted(taken))}: is the name of another row; give the checkpoint another one")
    checkpoints = [*plan.models.values(), *([plan.think] if plan.models and plan.think else [])]
    for path in checkpoints:
        checkpoint.check(path)
    # The first may be on a server that is there.
    if len(checkpoints) > (1 if URL in os.environ else 0):
        preflight()


def _beside(plan: Plan, shipped: Callable[[Path], Path | None]) -> Path | None:
    """Return what lies beside the served model, if it is there."""
    return shipped(next(iter(plan.models.values()))) if plan.models else None


def _ranker(plan: Plan, ctr: Path | None) -> Ranker | None:
    folder = plan.ranker or _beside(plan, shipped_ranker)
    return None if folder is None else open_ranker(folder, ctr)


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


def _generation(lists: ModelLists, rendered: Rendered, catalogue: Catalogue, index: WordIndex, path: Path) -> Report:
    found = quality([lists.generations.get(prompt) for prompt in lists.prompts.values()], catalogue.refuses)
    return {
        "checkpoint": path.name,
        "format_valid": found.format_valid,
        "in_catalogue": index.share(found.lists),
        "dup_rate": found.dup_rate,
        "nothing_rate": found.nothing_rate,
        "drops": found.drops,
        "tokens_plain": checkpoint.mean_tokens(path, list(rendered.plain.values())),
        "tokens_compressed": checkpoint.mean_tokens(path, list(rendered.compressed.values())),
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
