"""`aigq shop`: generate the sample shop's logs."""

from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.progress import Progress

from workers.shop import catalogue, generate

app = typer.Typer(help="The sample shop: generate logs of made-up shoppers.", no_args_is_help=True)


@app.command("generate", epilog="Example: aigq shop generate --shoppers 20000 --days 30 --seed 7 --out data/shop")
def generate_command(
    out: Annotated[Path, typer.Option(help="dataset directory to write; must not exist")],
    shoppers: Annotated[int, typer.Option(min=1, max=10_000_000)] = 20_000,
    days: Annotated[int, typer.Option(min=1, max=366)] = 30,
    seed: Annotated[int, typer.Option(min=0)] = 7,
) -> None:
    """Write Parquet logs, items and profiles; the same seed writes the same files."""
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("shoppers", total=shoppers)
        manifest = generate.generate(out, shoppers, days, seed, lambda done: progress.advance(task, done))
    typer.echo(orjson.dumps(manifest))


@app.command("hash")
def hash_command() -> None:
    """Print the hash of the shop's data files: figures are only comparable under the same hash."""
    typer.echo(catalogue.load().digest)
