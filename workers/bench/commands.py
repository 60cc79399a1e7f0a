"""`aigq bench`: benchmarks."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer(help="Benchmarks: ratios measured side by side on this machine.", no_args_is_help=True)
_Shoppers = Annotated[int, typer.Option(min=1, help="shoppers in Redis")]
_Repeats = Annotated[int, typer.Option(min=1, help="rounds; each measures everything once, by turns")]
_Model = Annotated[Path, typer.Option(help="checkpoint directory")]
_Data = Annotated[Path | None, typer.Option(help="dataset directory; default: a sample shop, made once")]
_Seconds = Annotated[int, typer.Option(min=1, help="of load, a server and round")]
_Connections = Annotated[int, typer.Option(min=1, help="of the load generator, each waiting for its answer")]
_Var = Annotated[Path, typer.Option(help="directory for data, artefacts and logs")]
_AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]


class Part(StrEnum):
    """What `aigq bench serving --all` can do without."""

    SOAK = "soak"
    ON_REQUEST = "on-request"


@app.command(epilog="Example: aigq bench serving --all --shoppers 1000000 --json")
def serving(
    *,
    shoppers: _Shoppers = 100_000,
    repeats: _Repeats = 5,
    seconds: _Seconds = 5,
    connections: _Connections = 16,
    feast: Annotated[
        Path | None, typer.Option(help="python of an environment with feast[redis]: measure it too")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="latency, soak and generating on request too, one report of all")
    ] = False,
    without: Annotated[list[Part], typer.Option(help="with --all: leave this out")] = [],  # noqa: B006  (typer's way)
    requests: Annotated[
        int, typer.Option(min=100, help="with --all: while Redis is well, frozen, slow and dead, each")
    ] = 100_000,
    soak_requests: Annotated[int, typer.Option(min=1, help="with --all: of the soak, after a tenth to warm up")] = (
        1_000_000
    ),
    model: _Model = Path("models/aigq-mini"),
    var: _Var = Path("var/bench"),
    as_json: _AsJson = False,
) -> None:
    """Requests/s of GET /v1/hints over those of a bare FastAPI route that reads the same list from Redis.

    One process a server, on the first core; load generator and Redis on the others. Needs wrk and two cores, and
    generating on request needs vLLM.
    """
    from workers.bench import arena, serving, whole  # noqa: PLC0415  (polars and the store are slow to import)

    plan = arena.Plan(shoppers=shoppers, repeats=repeats, seconds=seconds, connections=connections)
    if not everything:
        _show(serving.run(plan, var, _tell, feast), as_json=as_json)
        return
    soaked = 0 if Part.SOAK in without else soak_requests
    extent = whole.Extent(requests, soaked, None if Part.ON_REQUEST in without else model)
    _show(whole.run(plan, extent, feast, var, _tell), as_json=as_json)


@app.command(epilog="Example: aigq bench variants --only granian --only mypyc --json")
def variants(
    *,
    only: Annotated[list[str], typer.Option(help="of this name; default: all that this machine can run")] = [],  # noqa: B006  (typer's way)
    shoppers: _Shoppers = 20_000,
    repeats: _Repeats = 9,
    seconds: _Seconds = 3,
    connections: _Connections = 16,
    var: _Var = Path("var/bench"),
    as_json: _AsJson = False,
) -> None:
    """The service beside itself with one thing changed: event loop, parsers, server, collector, compiled and others.

    Needs wrk and two cores; what else a variant needs, if it is not there, is told.
    """
    from workers.bench import arena, variants  # noqa: PLC0415  (polars and the store are slow to import)

    plan = arena.Plan(shoppers=shoppers, repeats=repeats, seconds=seconds, connections=connections)
    _show(variants.run(plan, only, var, _tell), as_json=as_json)


@app.command(epilog="Example: aigq bench latency --shoppers 1000000 --json")
def latency(
    *,
    shoppers: _Shoppers = 100_000,
    requests: Annotated[
        int, typer.Option(min=100, help="while Redis is well, frozen, slow (+200 ms), and dead, each")
    ] = 20_000,
    repeats: _Repeats = 5,
    seconds: _Seconds = 5,
    connections: _Connections = 32,
    var: _Var = Path("var/bench"),
    as_json: _AsJson = False,
) -> None:
    """Percentiles at 70% of saturation, at a constant rate, and answers over the budget while Redis is in trouble."""
    from workers.bench import arena, latency  # noqa: PLC0415  (polars and the store are slow to import)

    plan = arena.Plan(shoppers=shoppers, repeats=repeats, seconds=seconds, connections=connections)
    _show(latency.run(plan, requests, var, _tell), as_json=as_json)


@app.command(epilog="Example: aigq bench rate 'http://127.0.0.1:8000/v1/hints?user_id=u42' --rate 500")
def rate(
    url: Annotated[str, typer.Argument(help="what to ask for; of this machine, or with LOADTEST_ALLOW_REMOTE=1")],
    *,
    rate: Annotated[float, typer.Option(min=1, help="requests/s, whatever comes back")] = 200,
    seconds: _Seconds = 10,
    connections: _Connections = 64,
    as_json: _AsJson = False,
) -> None:
    """Latency of one URL at a constant rate, each counted from when its request was due: no coordinated omission."""
    from workers.bench import constant_rate  # noqa: PLC0415  (asks the network only when called)

    _show(constant_rate.measure(url, rate, seconds, connections), as_json=as_json)


@app.command("metrics", epilog="Example: aigq bench metrics --json")
def metering(
    *,
    shoppers: _Shoppers = 10_000,
    repeats: _Repeats = 15,
    seconds: _Seconds = 2,
    connections: _Connections = 16,
    var: _Var = Path("var/bench"),
    as_json: _AsJson = False,
) -> None:
    """What metrics cost of a request's CPU, and what a scrape takes of a core. Needs wrk and two cores."""
    from workers.bench import arena, metering  # noqa: PLC0415  (polars and the store are slow to import)

    plan = arena.Plan(shoppers=shoppers, repeats=repeats, seconds=seconds, connections=connections)
    _show(metering.run(plan, var, _tell), as_json=as_json)


@app.command(epilog="Example: aigq bench nearline --json")
def nearline(
    *,
    shoppers: Annotated[int, typer.Option(min=1, help="a round")] = 256,
    repeats: _Repeats = 5,
    model: _Model = Path("models/aigq-mini"),
    data: _Data = None,
    var: _Var = Path("var/nearline"),
    as_json: _AsJson = False,
) -> None:
    """Shoppers/s from events to stored lists over those of vLLM's own engine on the same prompts."""
    from workers.bench import nearline as bench  # noqa: PLC0415  (polars and the store are slow to import)

    plan = bench.Plan(shoppers=shoppers, repeats=repeats)
    _show(bench.run(plan, model, data, var, _tell), as_json=as_json)


@app.command("on-request", epilog="Example: aigq bench on-request --json")
def on_request(
    *,
    shoppers: Annotated[int, typer.Option(min=1, help="a round")] = 128,
    repeats: _Repeats = 5,
    connections: _Connections = 8,
    model: _Model = Path("models/aigq-mini"),
    data: _Data = None,
    var: _Var = Path("var/nearline"),
    as_json: _AsJson = False,
) -> None:
    """Answers/s and latency if lists were generated when asked for, beside those of the service."""
    from workers.bench import on_request as bench  # noqa: PLC0415  (polars and the store are slow to import)

    plan = bench.Plan(shoppers=shoppers, repeats=repeats, connections=connections)
    _show(bench.run(plan, model, data, var, _tell), as_json=as_json)


@app.command(epilog="Example: aigq bench freshness --share 0.7 --json")
def freshness(
    *,
    share: Annotated[float, typer.Option(min=0.05, max=1.0, help="of the capacity")] = 0.7,
    seconds: _Seconds = 30,
    shoppers: Annotated[int, typer.Option(min=1, help="a burst, to find the capacity")] = 256,
    repeats: Annotated[int, typer.Option(min=1, help="bursts; the median counts")] = 3,
    model: _Model = Path("models/aigq-mini"),
    data: _Data = None,
    var: _Var = Path("var/nearline"),
    as_json: _AsJson = False,
) -> None:
    """Seconds from an event to the list that knows it, at a share of what the nearline path can take."""
    from workers.bench import freshness as bench  # noqa: PLC0415  (polars and the store are slow to import)

    plan = bench.Plan(share=share, seconds=seconds, shoppers=shoppers, rounds=repeats)
    _show(bench.run(plan, model, data, var, _tell), as_json=as_json)


@app.command(epilog="Example: aigq bench memory --json")
def memory(
    *, shoppers: _Shoppers = 5_000, repeats: _Repeats = 3, var: _Var = Path("var/bench"), as_json: _AsJson = False
) -> None:
    """Bytes of Redis a shopper, an action, a list and an x2q trigger; and events/s of a core."""
    from workers.bench import memory as bench  # noqa: PLC0415  (polars is slow to import)

    _show(bench.run(shoppers, repeats, var, _tell), as_json=as_json)


@app.command(epilog="Example: aigq bench soak --requests 1000000 --json")
def soak(
    *,
    shoppers: _Shoppers = 20_000,
    requests: Annotated[int, typer.Option(min=1, help="after the warm-up, at least")] = 1_000_000,
    warm_up: Annotated[int, typer.Option(min=1, help="requests that fill the caches, at least")] = 100_000,
    seconds: _Seconds = 10,
    connections: _Connections = 16,
    var: _Var = Path("var/bench"),
    as_json: _AsJson = False,
) -> None:
    """Memory of the service after a warm-up and after many more requests. Needs wrk and two cores."""
    from workers.bench import arena, soak  # noqa: PLC0415  (polars and the store are slow to import)

    plan = arena.Plan(shoppers=shoppers, repeats=1, seconds=seconds, connections=connections)
    _show(soak.run(plan, warm_up, requests, var, _tell), as_json=as_json)


@app.command("worker-memory", epilog="Example: aigq bench worker-memory --model models/aigq-mini --json")
def worker_memory(
    *,
    refreshes: Annotated[int, typer.Option(min=10_000, help="lists that the worker makes")] = 100_000,
    model: Annotated[
        Path | None, typer.Option(help="checkpoint whose ranker and candidates the worker uses; default: none")
    ] = None,
    var: _Var = Path("var/bench"),
    as_json: _AsJson = False,
) -> None:
    """Resident memory of a Direct worker over many refreshes, and its CPU a refresh, with a fake engine."""
    from workers.bench import worker_memory as bench  # noqa: PLC0415  (polars is slow to import)

    _show(bench.run(refreshes, model, var, _tell), as_json=as_json)


def _tell(text: str) -> None:
    Console(stderr=True).print(text, style="dim", highlight=False)


def _show(report: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(orjson.dumps(report))
        return
    table = Table("", "median", "least", "most")
    for name, figures in report["figures"].items():
        table.add_row(name, *(f"{figures[key]:,.4g}" for key in ("median", "min", "max")))
    Console().print(table)
