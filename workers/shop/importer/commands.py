"""`aigq import`: a shop's own logs, catalogue and profiles become a dataset."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from service.contracts.errors import AigqError
from workers.common.dataset import MANIFEST
from workers.shop.importer.mapping import Mapping
from workers.shop.importer.pipeline import MAX_REJECTS, MIN_SHOPPERS, ImportRefused, Report, Request, run
from workers.shop.importer.pseudonyms import Pseudonyms
from workers.shop.importer.tally import Tally

INTERRUPTED: Final = 130
"""Exit status after Ctrl-C, as shells have it."""

app = typer.Typer(no_args_is_help=True)


@app.command("import", epilog="Example: aigq import logs/*.jsonl.gz --items items.csv --out data/mine")
def import_command(
    events: Annotated[
        list[Path], typer.Argument(help="log files: .jsonl, .csv, .tsv (also .gz, .bz2, .zst), .parquet")
    ],
    *,
    items: Annotated[list[Path], typer.Option(help="catalogue file; may be given again")],
    out: Annotated[Path, typer.Option(help="dataset directory to make", resolve_path=True)],
    profiles: Annotated[list[Path] | None, typer.Option(help="profiles file; may be given again")] = None,
    mapping: Annotated[Path | None, typer.Option(help="TOML file: your names for the contract's fields")] = None,
    max_rejects: Annotated[
        float, typer.Option(min=0, max=1, help="share of rejected lines of a table above which the import fails")
    ] = MAX_REJECTS,
    min_shoppers: Annotated[
        int, typer.Option(min=1, help="k-anonymity floor: the manifest counts queries of fewer shoppers")
    ] = MIN_SHOPPERS,
    split_at: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="UTC; events from then on become OUT-later", metavar="TIME"
        ),
    ] = None,
    pseudonym_key: Annotated[
        Path | None, typer.Option(help="file with a secret; shoppers' ids are replaced by hashes under it")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace the dataset that is there")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the counts as one JSON line at the end")] = False,
) -> None:
    """Check, sort and store logs in the log contract or under a mapping; the directory appears only when complete."""
    began = time.perf_counter()
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    try:
        request = Request(
            events=events,
            items=items,
            profiles=profiles or (),
            out=out,
            mapping=Mapping.load(mapping),
            overwrite=overwrite,
            max_rejects=max_rejects,
            min_shoppers=min_shoppers,
            pseudonyms=Pseudonyms.from_file(pseudonym_key) if pseudonym_key else None,
            split_at=split_at.replace(tzinfo=UTC) if split_at else None,
        )
        with Progress(*columns, console=Console(stderr=True)) as progress:
            stages: dict[str, TaskID] = {}

            def advance(stage: str, done: int, total: int) -> None:
                if stage not in stages:
                    stages[stage] = progress.add_task(stage, total=total)
                progress.advance(stages[stage], done)

            report = run(request, advance)
    except (AigqError, OSError) as error:
        typer.echo(f"aigq import: {error}", err=True)
        if as_json:
            tallies = error.tallies if isinstance(error, ImportRefused) else ()
            _print_json({"error": str(error), "tables": _tables(tallies)})
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        typer.echo("aigq import: interrupted; nothing half-written is left", err=True)
        raise typer.Exit(INTERRUPTED) from None
    _say(report, request, time.perf_counter() - began)
    if as_json:
        _print_json(_summary(report, request))


def _say(report: Report, request: Request, took: float) -> None:
    for tally in report.tallies:
        typer.echo(
            f"{tally.table}: {tally.lines:,} lines = {tally.accepted:,} accepted + {tally.duplicates:,} duplicates + "
            f"{tally.rejected.total():,} rejected"
        )
        for line in tally.explain():
            typer.echo(f"  {line}")
    if any(tally.faulty for tally in report.tallies):
        typer.echo(f"rejected lines: {request.rejects}")
    for root, manifest in report.manifests.items():
        floor = manifest["k_anonymity"]
        typer.echo(
            f"{root}: {manifest['events']:,} events of {manifest['shoppers']:,} shoppers, {manifest['from']} to "
            f"{manifest['to']}; {floor['queries_below']:,} of {floor['queries']:,} queries have fewer than "
            f"{floor['min_shoppers']} shoppers"
        )
        for line in manifest["lost"]:
            typer.echo(f"  lost: {line}")
    lines = report.tallies[-1].lines
    typer.echo(f"{lines:,} log lines in {took:.1f} s ({lines / took:,.0f} a second)")


def _summary(report: Report, request: Request) -> dict[str, Any]:
    return {
        "tables": _tables(report.tallies),
        "datasets": [
            {"manifest": str(root / MANIFEST)} | {key: manifest[key] for key in ("events", "shoppers", "from", "to")}
            for root, manifest in report.manifests.items()
        ],
        "rejects": str(request.rejects) if any(tally.faulty for tally in report.tallies) else None,
    }


def _tables(tallies: Sequence[Tally]) -> dict[str, Any]:
    return {tally.table: tally.summary() for tally in tallies}


def _print_json(content: dict[str, Any]) -> None:
    typer.echo(orjson.dumps(content))
