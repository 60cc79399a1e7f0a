"""`aigq bench`: benchmarks."""

from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer(help="Benchmarks: ratios measured side by side on this machine.", no_args_is_help=True)


@app.command(epilog="Example: aigq bench serving --json")
def serving(
    *,
    shoppers: Annotated[int, typer.Option(min=1, help="shoppers in Redis")] = 100_000,
    repeats: Annotated[int, typer.Option(min=1, help="rounds; each measures every server once, by turns")] = 5,
    seconds: Annotated[int, typer.Option(min=1, help="of load, a server and round")] = 5,
    connections: Annotated[int, typer.Option(min=1)] = 16,
    var: Annotated[Path, typer.Option(help="directory for data, artefacts and logs")] = Path("var/bench"),
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Requests/s of GET /v1/hints over those of a bare FastAPI route that reads the same list from Redis.

    One process a server, on the first core; load generator and Redis on the others. Needs wrk and two cores.
    """
    from workers.bench import serving as bench  # noqa: PLC0415  (polars and the store are slow to import)

    console = Console(stderr=True)
    plan = bench.Plan(shoppers=shoppers, repeats=repeats, seconds=seconds, connections=connections)
    report = bench.run(plan, var, lambda text: console.print(text, style="dim", highlight=False))
    _show(report, as_json=as_json)


@app.command(epilog="Example: aigq bench nearline --json")
def nearline(
    *,
    shoppers: Annotated[int, typer.Option(min=1, help="a round")] = 256,
    repeats: Annotated[int, typer.Option(min=1, help="rounds; each measures both once, by turns")] = 5,
    model: Annotated[Path, typer.Option(help="checkpoint directory")] = Path("models/aigq-mini"),
    data: Annotated[Path | None, typer.Option(help="dataset directory; default: a sample shop, made once")] = None,
    var: Annotated[Path, typer.Option(help="directory for data, artefacts and logs")] = Path("var/nearline"),
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Shoppers/s from events to stored lists over those of vLLM's own engine on the same prompts."""
    from workers.bench import nearline as bench  # noqa: PLC0415  (polars and the store are slow to import)

    console = Console(stderr=True)
    plan = bench.Plan(shoppers=shoppers, repeats=repeats)
    report = bench.run(plan, model, data, var, lambda text: console.print(text, style="dim", highlight=False))
    _show(report, as_json=as_json)


def _show(report: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(orjson.dumps(report))
        return
    table = Table("", "median", "least", "most")
    for name, figures in report["figures"].items():
        table.add_row(name, *(f"{figures[key]:,.2f}" for key in ("median", "min", "max")))
    Console().print(table)
