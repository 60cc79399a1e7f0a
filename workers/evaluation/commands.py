"""`aigq evaluate`: how often the next searches are foreseen, by a model and by tuned baselines."""

import signal
from pathlib import Path
from typing import Annotated, Final

import orjson
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table as RichTable

from service.contracts.errors import ConfigError
from service.contracts.settings import load_settings

app = typer.Typer(help="How often the next searches are foreseen.")
_SHIPPED: Final = "models/aigq-mini"
_SHIPPED_NAME: Final = "il_sft"
_WIDTH: Final = 140
"""Columns where the output is not a terminal."""


@app.command(epilog="Example: aigq evaluate --data data/shop --model models/aigq-mini --json")
def evaluate(
    *,
    data: Annotated[
        Path | None, typer.Option(help="dataset directory; default: the sample shop, generated once into the cache")
    ] = None,
    model: Annotated[
        str, typer.Option(help="checkpoint to serve, DIR or NAME=DIR; its list is a row, and it makes the row aigq")
    ] = _SHIPPED,
    compare: Annotated[list[str] | None, typer.Option(help="NAME=DIR: another checkpoint, a row of its own")] = None,
    next_query: Annotated[
        list[str] | None, typer.Option(help="NAME=DIR: as --compare, of a model taught the next query alone")
    ] = None,
    judge: Annotated[
        Path | None, typer.Option(help="CTR ranker of the part judge, which predicts clicks on what each row shows")
    ] = None,
    ctr: Annotated[
        Path | None, typer.Option(help="CTR ranker towards which ranked lists lean; default: MODEL-ctr, if there")
    ] = None,
    calibrated: Annotated[
        bool, typer.Option(help="weigh the sources by it too: rows NAME_calibrated, as artefacts build --ctr does")
    ] = False,
    ranker: Annotated[
        Path | None,
        typer.Option(
            help="directory of aigq train ranker, for aigq and without_model; default: MODEL-ranker, if there"
        ),
    ] = None,
    lessons: Annotated[
        Path | None,
        typer.Option(help="of aigq think distil: what triggers lead to, as aigq think publish --lessons has it"),
    ] = None,
    think: Annotated[
        Path | None, typer.Option(help="checkpoint that writes the lists of triggers; default: MODEL")
    ] = None,
    baselines_only: Annotated[bool, typer.Option("--baselines-only", help="no model, no vLLM")] = False,
    cases: Annotated[int, typer.Option(min=1, help="test shoppers, at most")] = 2000,
    learners: Annotated[int, typer.Option(min=1, help="shoppers that baselines learn from, at most")] = 50_000,
    min_items: Annotated[int, typer.Option(min=1, help="items with all its words that make a query in_catalogue")] = 1,
    seed: Annotated[int, typer.Option(min=0, max=2**31, help="of factorisations and of the bootstrap")] = 7,
    show: Annotated[
        int, typer.Option(min=0, help="shoppers to draw and show: what they did, suggestions, next searches; try 20")
    ] = 0,
    out: Annotated[Path | None, typer.Option(help="directory for report.json, report.html and cases.parquet")] = None,
    oracles: Annotated[Path | None, typer.Option(help="output of: aigq shop report DIR --json")] = None,
    config: Annotated[Path | None, typer.Option(help="settings file (TOML)")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the report as one JSON line at the end")] = False,
) -> None:
    """Learn and tune baselines, ask the model, and compare on shoppers and days that nobody learned from."""
    from workers.evaluation import oracles as bounds  # noqa: PLC0415  (so that --help is fast)
    from workers.evaluation import run, write  # noqa: PLC0415
    from workers.evaluation.tables import tables  # noqa: PLC0415

    # A kill ends the model's server too.
    signal.signal(signal.SIGTERM, _interrupt)
    settings = load_settings(config)
    models = {} if baselines_only else _models([model, *(compare or []), *(next_query or [])])
    drawn = frozenset(one.partition("=")[0] for one in next_query or ())
    known = bounds.read(oracles) if oracles is not None else None
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        tasks: dict[str, TaskID] = {}

        def advance(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage, total=total)
            progress.advance(tasks[stage], done)

        plan = run.Plan(
            data,
            models,
            drawn,
            judge,
            ctr,
            ranker,
            think,
            lessons,
            cases=cases,
            learners=learners,
            min_items=min_items,
            seed=seed,
            show=show,
            calibrated=calibrated,
        )
        report, by_case = run.evaluate(plan, settings, advance)
    if known is not None:
        report["oracles"] = known
    terminal = console if console.is_terminal else Console(stderr=True, width=_WIDTH)
    for paragraph in write.introduction(report)[:2]:
        terminal.print(paragraph)
    for one in tables(report):
        if one.brief:
            shown = RichTable(*map(escape, one.heads), title=escape(one.title), caption=one.about, title_justify="left")
            for row in one.rows:
                shown.add_row(*map(escape, row))  # queries may look like markup
            terminal.print(shown)
    if out is not None:
        terminal.print(f"report: {write.write(report, by_case, out)}")
    if as_json:
        typer.echo(orjson.dumps(report))


def _interrupt(number: int, frame: object) -> None:
    del number, frame
    raise KeyboardInterrupt


def _models(given: list[str]) -> dict[str, Path]:
    """Return checkpoints by the name of their row.

    Raises:
        ConfigError: a name is missing or is there twice.
    """
    found: dict[str, Path] = {}
    for place, one in enumerate(given):
        name, separator, path = one.partition("=")
        if not separator:
            if place:
                raise ConfigError(f"{one}: needs a name for its row, for example sft={one}")
            name, path = _SHIPPED_NAME, one
        if not name or name in found:
            raise ConfigError(f"{one}: the name of a row must be there, and only once; write NAME=DIR")
        found[name] = Path(path)
    return found
