"""`aigq train ctr`."""

import math
import sys
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import orjson
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table as Grid

from service.contracts.errors import ArtefactError, TooLittleData
from service.ranking.catalogue import digest
from workers.common.dataset import MANIFEST, Dataset
from workers.common.timed import timed

_SECONDS: Final = "seconds.json"
"""Beside a ranker, whose own files depend on data and seed alone."""


class Learners(StrEnum):
    """Whose exposures are learned from: the ranker's shoppers or, for the one that judges, others."""

    TRAIN = "train"
    JUDGE = "judge"


def add(app: typer.Typer) -> None:
    """Add `ctr` to `aigq train`."""
    app.command(epilog="Example: aigq train ctr --data data/shop --out models/ctr")(ctr)


def ctr(
    data: Annotated[Path, typer.Option(help="dataset directory")],
    out: Annotated[Path, typer.Option(help="directory to write")],
    part: Annotated[Learners, typer.Option(help="judge: on other shoppers, for judging what the first rewards")] = (
        Learners.TRAIN
    ),
    max_requests: Annotated[int, typer.Option(min=1, help="of more requests, a sample of shoppers is taken")] = 200_000,
    seed: Annotated[int, typer.Option(help="of all randomness")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="the trees do not depend on it")] = 1,
    compare: Annotated[bool, typer.Option("--compare", help="also fit other ways to treat position")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="last line: all figures as one JSON object")] = False,
) -> None:
    """Train the CTR ranker: how likely a shopper who sees a hint clicks it."""
    from service.ranking.ctr import CtrMeta, CtrScorer, save  # noqa: PLC0415  (numpy and lightgbm are slow to import)
    from workers.training import ctr as stage  # noqa: PLC0415
    from workers.training import ctr_report, exposures  # noqa: PLC0415

    console, seconds = Console(stderr=True), dict[str, float]()
    dataset = Dataset(data)
    end = exposures.learned_until(dataset)
    with timed(seconds, "ctr"), Progress(console=console) as progress:
        steps = progress.add_task("read", total=None)
        log = exposures.read_log(dataset, max_requests)
        progress.update(steps, description="features", total=log.slots.height)
        table, stats = stage.build_table(log, part.value, end, lambda done: progress.advance(steps, done))
        progress.update(steps, description="trees", total=None)
        learned, tuned = table.part(part.value, early=True), table.part("validation", early=True)
        fitted = stage.fit(table, learned, tuned, "product", seed, threads)
        truth = ctr_report.read_truth(dataset, log.slots)
        progress.update(steps, description="figures")
        groups = ctr_report.report(table, learned, fitted, truth)
        with suppress(TooLittleData):  # fewer queries may be too few for a second fit; the first stands
            groups["test_withheld_queries"] = ctr_report.withheld(table, learned, tuned, truth, seed, threads)
        figures: dict[str, Any] = {
            "learned_from": {"exposures": int(learned.sum()), "clicks": int(table.clicks[learned].sum())},
            "trees": fitted.rounds,
            "examination_from": fitted.explored,
            "unmatched_exposures": log.unmatched,
            "groups": groups,
        }
        if compare:
            figures["position"] = {"product": ctr_report.overall(table, learned, fitted, truth)}
            figures["position"] |= ctr_report.ablations(table, learned, tuned, truth, seed, threads)
    meta = CtrMeta(part.value, end, dataset.provenance(), fitted.examination, fitted.bias, figures)
    beside = {"calibration.png": ctr_report.plot(table, fitted, truth), _SECONDS: orjson.dumps(seconds)}
    save(out, meta, stats, fitted.trees.model_to_string(), beside)
    CtrScorer.open(out)  # what was written can be read
    if not fitted.explored["clicks"]:
        console.print("[yellow]no explored slot was clicked: every position counts as equally looked at[/yellow]")
    for title in ("groups", "position"):
        if title in figures:
            console.print(_grid(title, ctr_report.lines(figures[title])))
    if as_json:
        sys.stdout.write(orjson.dumps({"model": str(out), "part": part.value, **figures}).decode() + "\n")


def is_trained(folder: Path, data: Path) -> bool:
    """Whether `folder` holds a whole ranker that was learned from `data`."""
    from service.ranking.ctr import CtrScorer  # noqa: PLC0415

    try:
        meta = CtrScorer.open(folder).meta
    except ArtefactError:
        return False
    return bool(meta.data.get("manifest_blake2b") == digest(data / MANIFEST))


def seconds_of(folder: Path) -> float:
    """Return what the ranker in `folder` took; NaN of one that an older release made."""
    file = folder / _SECONDS
    return float(orjson.loads(file.read_bytes())["ctr"]) if file.exists() else math.nan


def _grid(title: str, rows: list[tuple[str, ...]]) -> Grid:
    grid = Grid(title, "exposures", "clicks", "AUC [95%]", "log loss (constant)", "calibration error")
    for row in rows:
        grid.add_row(*row)
    return grid
