"""`aigq shop`: generate the sample shop's logs, report on them, and say which shop it is."""

import time
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table as RichTable

from service.contracts.errors import AigqError
from workers.common.dataset import Dataset
from workers.shop.catalogue import Shop
from workers.shop.generate import MAX_SHOPPERS, generate

app = typer.Typer(help="The sample shop: logs of shoppers who have needs.", no_args_is_help=True)
_MAX_DAYS = 3650
_MAX_SEED = 2**48


@app.command("generate", epilog="Example: aigq shop generate --shoppers 20000 --days 30 --seed 1 --out data/shop")
def generate_command(
    out: Annotated[Path, typer.Option(help="dataset directory to make")],
    shoppers: Annotated[int, typer.Option(min=1, max=MAX_SHOPPERS, help="number of shoppers")] = 20_000,
    days: Annotated[int, typer.Option(min=2, max=_MAX_DAYS, help="days of logs, ending 2026-11-01 UTC")] = 30,
    seed: Annotated[int, typer.Option(min=0, max=_MAX_SEED, help="the same seed gives the same files")] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace the dataset that is there")] = False,
) -> None:
    """Generate logs, items and profiles; the directory appears only when complete."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    began = time.perf_counter()
    try:
        with Progress(*columns, console=Console(stderr=True)) as progress:
            task = progress.add_task("shoppers", total=shoppers)
            manifest = generate(
                out,
                shoppers=shoppers,
                days=days,
                seed=seed,
                overwrite=overwrite,
                advance=lambda done: progress.advance(task, done),
            )
    except AigqError as error:
        typer.echo(f"aigq shop generate: {error}", err=True)
        raise typer.Exit(1) from None
    took = time.perf_counter() - began
    events = manifest["events"]
    typer.echo(f"{out}: {events:,} events of {shoppers:,} shoppers in {took:.1f} s ({events / took:,.0f} a second)")


@app.command("report", epilog="Example: aigq shop report data/shop --json")
def report_command(
    data: Annotated[Path, typer.Argument(help="dataset directory that aigq shop generate made")],
    out: Annotated[Path | None, typer.Option(help="directory for plots and page; default: DATA-report")] = None,
    shoppers: Annotated[int, typer.Option(min=10, help="read the first so many shoppers")] = 20_000,
    cases: Annotated[int, typer.Option(min=1, help="shoppers that the oracles judge")] = 600,
    futures: Annotated[int, typer.Option(min=2, help="futures that an oracle imagines for each")] = 160,
    as_json: Annotated[bool, typer.Option("--json", help="print the figures as one JSON line at the end")] = False,
) -> None:
    """Measure the logs, compare them with published figures, and say how hard the next searches are to foresee."""
    from workers.shop.report import make  # noqa: PLC0415  (matplotlib takes a second to import)

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        dataset = Dataset(data)
        with Progress(*columns, console=Console(stderr=True)) as progress:
            task = progress.add_task("oracles", total=2 * cases)
            found = make.make(
                data, shoppers=shoppers, cases=cases, futures=futures, advance=lambda: progress.advance(task)
            )
            progress.update(task, completed=2 * cases)
        page = make.write(found, dataset, out or data.with_name(f"{data.name}-report"), futures)
    except AigqError as error:
        typer.echo(f"aigq shop report: {error}", err=True)
        raise typer.Exit(1) from None
    console = Console()
    for one in found.tables():
        table = RichTable(*one.heads[: one.brief], title=one.title, title_justify="left")
        for row in one.rows:
            table.add_row(*row[: one.brief])
        console.print(table)
    typer.echo(f"sources, notes and plots: {page}")
    if as_json:
        typer.echo(orjson.dumps(found.summary()))


@app.command("attraction", epilog="Example: aigq shop attraction data/shop --lists report/cases.parquet --json")
def attraction_command(
    data: Annotated[Path, typer.Argument(help="dataset directory that aigq shop generate made")],
    lists: Annotated[Path, typer.Option(help="cases.parquet, which aigq evaluate --out writes")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="print the figures as one JSON line at the end")] = False,
) -> None:
    """Judge lists by the true click model: how likely a shopper who looks at a hint clicks it."""
    from workers.shop.report.attraction import judge_lists, read_lists  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        known = read_lists(lists)
        with Progress(*columns, console=Console(stderr=True)) as progress:
            task = progress.add_task("shoppers", total=known["user_id"].n_unique())
            found = judge_lists(Dataset(data), known, Shop(), lambda: progress.advance(task))
    except AigqError as error:
        typer.echo(f"aigq shop attraction: {error}", err=True)
        raise typer.Exit(1) from None
    title = f"True chance of a click on each of the first six, if looked at ({found.cases:,} shoppers)"
    table = RichTable("method", "attraction", "95%", "unknown to the shop", title=title, title_justify="left")
    for name, one in found.methods.items():
        table.add_row(name, f"{one.attraction:.4f}", f"{one.low:.4f} to {one.high:.4f}", f"{one.unknown:.1%}")
    Console(stderr=True).print(table)
    if as_json:
        methods = {
            name: {"attraction@6": one.attraction, "attraction@6_ci": (one.low, one.high), "unknown": one.unknown}
            for name, one in found.methods.items()
        }
        typer.echo(orjson.dumps({"cases": found.cases, "left_out": found.left_out, "methods": methods}))


@app.command("hash", epilog="Example: aigq shop hash")
def hash_command() -> None:
    """Print the digest of the shop's data files and of the generator's version."""
    typer.echo(Shop().hash)
