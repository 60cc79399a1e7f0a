"""`aigq artefacts`: build the catalogue artefact."""

from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from service.contracts.errors import ConfigError
from service.ranking.calibration import BY_HAND, Calibration
from service.ranking.catalogue import Catalogue
from workers.common import artefacts
from workers.common.dataset import Dataset

app = typer.Typer(help="Build the catalogue artefact that service and workers read.", no_args_is_help=True)


@app.callback()
def main() -> None:
    """Keep `build` a subcommand of its own."""


@app.command(epilog="Example: aigq artefacts build --data data/shop --out var/artefacts --ctr models/ctr")
def build(
    data: Annotated[Path, typer.Option(help="dataset directory: items, events, profiles")],
    out: Annotated[Path, typer.Option(help="artefact root; `service.artefacts` points to it")],
    ctr: Annotated[
        Path | None,
        typer.Option(help="directory of aigq train ctr, which weighs the sources; default: weights by hand"),
    ] = None,
) -> None:
    """Build from a dataset and make it current; running services swap to it within a second."""
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("build", total=None)

        def advance(done: int, total: int) -> None:
            progress.update(task, description="weigh sources", total=total, advance=done)

        calibrate = None if ctr is None else _calibrator(data, ctr, advance)
        version = artefacts.build(data, out, calibrate=calibrate)
    typer.echo(f"artefact {version} is current in {out}")
    if ctr is not None:
        with closing(Catalogue.open(out)) as catalogue:
            typer.echo(f"sources weigh: {_told(catalogue.calibration)} (by hand: {_told(BY_HAND)})")


def _calibrator(data: Path, ctr: Path, advance: Callable[[int, int], None]) -> Callable[[Catalogue], Calibration]:
    try:
        from workers.common.calibrate import calibrate  # noqa: PLC0415  (only who weighs needs LightGBM)
        from workers.common.click_order import open_scorer  # noqa: PLC0415

        return partial(calibrate, dataset=Dataset(data), scorer=open_scorer(ctr), advance=advance)
    except ModuleNotFoundError as error:
        raise ConfigError(f"--ctr needs {error.name}; install it with: pip install 'aigq[rank]'") from None


def _told(calibration: Calibration) -> str:
    return ", ".join(f"{source} {weight:g}" for source, weight in calibration.as_json().items())
