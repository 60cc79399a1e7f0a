"""`aigq artefacts`: build the catalogue artefact."""

from pathlib import Path
from typing import Annotated

import typer

from workers.common import artefacts

app = typer.Typer(help="Build the catalogue artefact that service and workers read.", no_args_is_help=True)


@app.callback()
def main() -> None:
    """Keep `build` a subcommand of its own."""


@app.command(epilog="Example: aigq artefacts build --data data/shop --out var/artefacts")
def build(
    data: Annotated[Path, typer.Option(help="dataset directory: items, events, profiles")],
    out: Annotated[Path, typer.Option(help="artefact root; `service.artefacts` points to it")],
) -> None:
    """Build from a dataset and make it current; running services swap to it within a second."""
    typer.echo(f"artefact {artefacts.build(data, out)} is current in {out}")
