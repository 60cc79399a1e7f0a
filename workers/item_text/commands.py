"""`aigq item-text`: words for items of which the logs know none."""

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from service.contracts.settings import load_settings
from workers.common.artefacts import read_behaviour, read_items
from workers.common.engine import EngineName, make_engine
from workers.common.item_text import FILE
from workers.common.vllm_client import VllmGenerator
from workers.item_text import job

app = typer.Typer(help="Words that stand for an item in a prompt, by a model.", no_args_is_help=True)
_STOPPED = 130
"""Exit code of what Ctrl-C ended."""


@app.callback()
def main() -> None:
    """Keep `build` a subcommand of its own."""


@app.command(epilog="Example: aigq item-text build --data data/shop")
def build(
    data: Annotated[Path, typer.Option(help="dataset directory: items, events")],
    out: Annotated[Path | None, typer.Option(help=f"default: {FILE} in service.artefacts, where it is read")] = None,
    config: Annotated[Path | None, typer.Option(help="settings file (TOML)")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    *,
    engine: Annotated[EngineName, typer.Option(help="who sends batches: this process, or Ray Data")] = EngineName.LOCAL,
) -> None:
    """Ask the model what items are called to which no query of the logs leads; then build the artefacts anew.

    Only new and changed items are asked for. A run that is stopped goes on where it was.
    """
    settings = load_settings(config)
    items, events = read_items(data), read_behaviour(data)
    path = out or settings.service.artefacts / FILE
    columns = TextColumn("item texts"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()

    async def work() -> job.Report:
        async with VllmGenerator(settings.vllm) as generator:
            await job.canary(generator, items, events).check()
            sender = make_engine(engine, generator, settings.vllm, settings.think.ray_batches)
            cache = job.Texts(path, settings)
            with Progress(*columns, console=Console(stderr=True)) as bar:
                task = bar.add_task("item texts", total=None)

                def show(done: int, total: int) -> None:
                    bar.update(task, completed=done, total=total)

                return await job.run(items, events, cache, sender, settings, show)

    try:
        report = asyncio.run(work())
    except KeyboardInterrupt:
        typer.echo(f"stopped: the words so far are in {path}, and the next run goes on from them", err=True)
        raise typer.Exit(_STOPPED) from None
    if as_json:
        typer.echo(orjson.dumps({"out": str(path), **asdict(report)}))
        return
    typer.echo(
        f"{path}: of {report.items} items the logs tell {report.told}, the model {report.written}, the rule "
        f"{report.plain}; {report.cached} were known, {report.asked} asked for, {report.tokens} tokens, "
        f"{report.seconds} s. Next: aigq artefacts build"
    )
