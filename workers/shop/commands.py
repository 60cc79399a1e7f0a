"""`aigq shop`: generate the sample shop's logs, and say which shop it is."""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from service.contracts.errors import AigqError
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


@app.command("hash", epilog="Example: aigq shop hash")
def hash_command() -> None:
    """Print the digest of the shop's data files and of the generator's version."""
    typer.echo(Shop().hash)
