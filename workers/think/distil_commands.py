"""`aigq think distil`: lessons to learn or to publish, from what the logs say, by a teacher or by rule."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Final

import orjson
import polars as pl
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from service.contracts.errors import ArtefactError, ConfigError
from service.contracts.settings import load_settings
from service.ranking.inverted_index import InvertedIndex
from workers.common.artefacts import read_items
from workers.common.dataset import Dataset
from workers.common.item_text import texts
from workers.common.learning import anonymity_floor, read_all_events, read_events
from workers.common.reasons import Lesson, write_lessons
from workers.common.triggers import TriggerPrompt, select_for
from workers.think import knowledge
from workers.think.distil import Answers, Distiller, Report
from workers.think.evidence import Logs
from workers.think.teacher import Budget, Endpoint, Teacher

_KEY: Final = "TEACHER_API_KEY"
_STOPPED: Final = 130


def add(app: typer.Typer) -> None:
    """Add `distil` to `aigq think`."""
    app.command(epilog="Example: aigq think distil --data data/shop --out data/reasons.parquet")(distil)


def distil(
    *,
    data: Annotated[Path, typer.Option(help="dataset directory: items, events, profiles")],
    out: Annotated[
        Path, typer.Option(help="Parquet file to write, for: aigq train sft --reasons, or think publish --lessons")
    ],
    teacher: Annotated[
        str, typer.Option(help="URL of an OpenAI-compatible chat endpoint; or knowledge, which answers from the logs")
    ] = knowledge.NAME,
    teacher_model: Annotated[str | None, typer.Option(help="model to ask there")] = None,
    api_key: Annotated[str | None, typer.Option(envvar=_KEY, show_envvar=True, help="of that endpoint")] = None,
    max_triggers: Annotated[int | None, typer.Option(min=1, help="triggers, at most; default: as publish")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="tokens in and out that this run may cost")] = None,
    max_cost: Annotated[float | None, typer.Option(min=0, help="of this run at most, in the prices' currency")] = None,
    price_in: Annotated[float, typer.Option(min=0, help="of a million tokens told")] = 0.0,
    price_out: Annotated[float, typer.Option(min=0, help="of a million tokens answered")] = 0.0,
    timeout: Annotated[float, typer.Option(min=0.1, help="seconds for an answer")] = 60.0,
    retries: Annotated[int, typer.Option(min=0, max=10, help="of a request that may pass")] = 3,
    in_flight: Annotated[int, typer.Option(min=1, max=1024, help="requests at once, at most")] = 8,
    everybody: Annotated[
        bool, typer.Option("--everybody", help="of all shoppers and days: to publish, not to train or to evaluate")
    ] = False,
    config: Annotated[Path | None, typer.Option(help="settings file (TOML)")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Write what a reasoned answer to each trigger should be: a rationale, then a list.

    Nothing after the evaluation's cut-off is looked at, and nobody but the training part of the shoppers; with
    --everybody all who consented, until the last day, and then training and evaluation refuse the file. A teacher's
    answers are kept in OUT.answers.jsonl: a run that was stopped, or done again, asks only for what is new.
    """
    endpoint = None
    if teacher != knowledge.NAME:
        if not teacher.startswith(("http://", "https://")):
            raise ConfigError(f"--teacher {teacher}: is neither {knowledge.NAME} nor a URL (https://...)")
        if teacher_model is None:
            raise ConfigError("--teacher URL needs --teacher-model, the name of the model to ask there")
        endpoint = Endpoint(teacher, teacher_model, api_key, timeout, retries)
    budget = Budget(max_tokens, max_cost, price_in, price_out)
    dataset, settings = Dataset(data), load_settings(config)
    started = time.monotonic()
    columns = TextColumn("lessons"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with ExitStack() as stack:
        bar = stack.enter_context(Progress(*columns, console=Console(stderr=True)))
        task = bar.add_task("lessons", total=None)
        chosen = select_for(data, settings, learning=not everybody)[:max_triggers]
        report = Report(knowledge.NAME if endpoint is None else endpoint.name, len(chosen))
        events = read_all_events(dataset) if everybody else read_events(dataset)
        distiller = _distiller(dataset, events, report, stack)
        bar.update(task, total=len(chosen))

        def show(done: int) -> None:
            bar.advance(task, done)

        if endpoint is None:
            lessons = distiller.by_rule(chosen, show)
        else:
            answers = stack.enter_context(Answers(out.with_name(f"{out.name}.answers.jsonl")))
            try:
                lessons = asyncio.run(_asked(distiller, chosen, endpoint, budget, answers, in_flight, show))
            except KeyboardInterrupt:
                typer.echo(f"stopped: {out} is as it was; answers are kept, and the next run goes on", err=True)
                raise typer.Exit(_STOPPED) from None
    report.tokens, report.cost = budget.tokens, round(budget.cost, 6)
    report.seconds = round(time.monotonic() - started, 2)
    if not lessons:
        raise ArtefactError(f"{out}: not written, since there is no lesson. Why triggers have none: {report.drops}")
    write_lessons(out, lessons, dataset.provenance(), held_out=everybody)
    _tell(out, report, as_json=as_json)


def _distiller(dataset: Dataset, events: pl.DataFrame, report: Report, stack: ExitStack) -> Distiller:
    items = read_items(dataset.root)
    path = Path(stack.enter_context(TemporaryDirectory())) / "words.mdb"
    InvertedIndex.write(path, texts(items, events), items["category"].fill_null("").to_list())
    index = stack.enter_context(closing(InvertedIndex.open(path)))
    segments = dataset.profiles().select("user_id", "segment").filter(pl.col("segment") != "")
    logs = Logs(events, items, segments, index, anonymity_floor(dataset))
    return Distiller(logs, index.finds, report)


async def _asked(
    distiller: Distiller,
    chosen: Sequence[TriggerPrompt],
    endpoint: Endpoint,
    budget: Budget,
    answers: Answers,
    in_flight: int,
    show: Callable[[int], None],
) -> list[Lesson]:
    async with Teacher(endpoint, budget) as teacher:
        return await distiller.by_model(chosen, endpoint, teacher, answers, in_flight, show)


def _tell(out: Path, report: Report, *, as_json: bool) -> None:
    if as_json:
        typer.echo(orjson.dumps({"out": str(out), **asdict(report)}))
        return
    typer.echo(
        f"{out}: {report.lessons} lessons of {report.triggers} triggers by {report.teacher}; {report.known} answers "
        f"were known, {report.asked} asked for, {report.tokens} tokens, cost {report.cost:g}, {report.seconds} s"
    )
    if report.drops:
        typer.echo(f"left out: {', '.join(f'{reason} {count}' for reason, count in report.drops.items())}")
    if report.drops.get("over_budget"):
        typer.echo("the budget ended before the triggers; with a higher cap the same command goes on", err=True)
