"""`aigq think`: publish x2q, look at its versions, go back."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from service import telemetry
from service.contracts.keys import Keys
from service.contracts.redis import check_partitions, make_redis
from service.contracts.settings import Settings, load_settings
from service.ranking.catalogue import Catalogue
from workers.common.vllm_client import VllmGenerator
from workers.think import job
from workers.think.publish import X2QStore
from workers.think.triggers import select

app = typer.Typer(help="Write what triggers lead to (AIGQ-Think): publish, look, go back.", no_args_is_help=True)
Config = Annotated[Path | None, typer.Option(help="settings file (TOML)")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]


@app.command(epilog="Example: aigq think publish --data data/shop")
def publish(
    data: Annotated[Path, typer.Option(help="dataset directory: items and events")],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Generate lists for items and categories and make them the current x2q version."""
    settings = load_settings(config)
    prompts = select(data, settings.think.max_items)
    catalogue = Catalogue.open(settings.service.artefacts)
    columns = (TextColumn("x2q"), BarColumn(), MofNCompleteColumn(), TextColumn("triggers"), TimeRemainingColumn())

    telemetry.trace_clients(settings.trace, "think")

    async def work(store: X2QStore) -> None:
        async with VllmGenerator(settings.vllm) as generator:
            with Progress(*columns, console=Console(stderr=True)) as progress:
                task = progress.add_task("x2q", total=len(prompts))
                version, report = await job.publish(
                    store, generator, prompts, catalogue, settings, lambda done: progress.advance(task, done)
                )
        if as_json:
            typer.echo(orjson.dumps({"version": version, **asdict(report)}))
        else:
            typer.echo(f"x2q {version}: {report.filled} of {report.triggers} triggers, {report.queries} queries, "
                       f"{report.tokens} tokens, {report.seconds} s")  # fmt: skip

    asyncio.run(_with_store(settings, work))


@app.command()
def status(config: Config = None, as_json: AsJson = False) -> None:
    """List the versions in Redis."""
    settings = load_settings(config)

    async def work(store: X2QStore) -> None:
        current, versions = await store.current(), await store.info()
        if as_json:
            typer.echo(orjson.dumps({"current": current, "versions": versions}))
            return
        table = Table("version", "current", "triggers", "filled", "queries", "model")
        for version, info in sorted(versions.items()):
            cells = (str(info.get(name)) for name in ("triggers", "filled", "queries", "model"))
            table.add_row(version, "yes" if version == current else "", *cells)
        Console().print(table)

    asyncio.run(_with_store(settings, work))


@app.command()
def rollback(config: Config = None) -> None:
    """Make the version before the current one current again."""

    async def work(store: X2QStore) -> None:
        typer.echo(f"x2q is now {await store.rollback()}")

    asyncio.run(_with_store(load_settings(config), work))


async def _with_store(settings: Settings, work: Callable[[X2QStore], Awaitable[None]]) -> None:
    keys = Keys(settings.redis.namespace, settings.redis.partitions)
    redis = make_redis(settings.redis, settings.redis.write_timeout_ms)
    try:
        await check_partitions(redis, keys)
        await work(X2QStore(redis, keys, settings.think.keep_previous_s))
    finally:
        await redis.aclose()
