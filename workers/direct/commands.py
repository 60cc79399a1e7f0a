"""`aigq direct`: run a nearline worker."""

import asyncio
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import orjson
import typer
from prometheus_client import start_http_server
from redis.asyncio import Redis
from rich.console import Console
from rich.table import Table

from service import telemetry
from service.contracts.errors import StoreUnavailable
from service.contracts.keys import Keys
from service.contracts.redis import check_partitions, make_redis
from service.contracts.settings import Settings, load_settings
from service.ranking.catalogue import open_catalogue
from workers.common.canary import shopper_canary
from workers.common.loop import stop_on_signals
from workers.common.ranked_list import open_ranker
from workers.common.vllm_client import VllmGenerator
from workers.direct.dead_letters import DeadLetter, DeadLetters
from workers.direct.lists import ListMaker
from workers.direct.queue import DueQueue
from workers.direct.worker import DirectWorker

app = typer.Typer(help="Run a nearline worker (AIGQ-Direct), or look at its dead letters.")
_log = logging.getLogger(__name__)
_Config = Annotated[Path | None, typer.Option(help="settings file (TOML)")]


@app.callback(invoke_without_command=True, epilog="Example: aigq direct --config configs/demo.toml")
def direct(context: typer.Context, config: _Config = None) -> None:
    """Keep shoppers' lists fresh until stopped (Ctrl-C or SIGTERM)."""
    if context.invoked_subcommand is None:
        settings = load_settings(config)
        telemetry.set_up_logs(settings.log)
        telemetry.trace_clients(settings.trace, "direct")
        asyncio.run(_run(settings))


@app.command("dead-letters", epilog="Example: aigq direct dead-letters --retry")
def dead_letters(
    *,
    config: _Config = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON lines")] = False,
    retry: Annotated[bool, typer.Option("--retry", help="make them all due again")] = False,
) -> None:
    """Show shoppers whose refresh failed queue.max_tries times in a row, and why. They keep the list they have."""
    letters, revived = asyncio.run(_dead_letters(load_settings(config), retry=retry))
    if as_json:
        for letter in letters:
            typer.echo(orjson.dumps(letter))
    elif letters:
        table = Table()
        for name in ("shopper (hash)", "since", "tries"):
            table.add_column(name, no_wrap=True)
        table.add_column("reason")
        for letter in letters:
            since = datetime.fromtimestamp(letter.at_ms / 1000, UTC).isoformat(timespec="seconds")
            table.add_row(letter.sid, since, str(letter.tries), letter.reason)
        Console().print(table)
    if retry or not (as_json or letters):
        typer.echo(f"{revived} due again" if retry else "no dead letters", err=as_json)


async def _dead_letters(settings: Settings, *, retry: bool) -> tuple[list[DeadLetter], int]:
    redis = make_redis(settings.redis, settings.redis.write_timeout_ms)
    try:
        keys = Keys(settings.redis.namespace, settings.redis.partitions)
        await check_partitions(redis, keys)
        letters = DeadLetters(redis, keys)
        return await letters.all(), await letters.retry() if retry else 0
    finally:
        await redis.aclose()


async def _run(settings: Settings) -> None:
    catalogue = open_catalogue(settings.service)
    direct = settings.direct
    ranker = None if direct.ranker is None else open_ranker(direct.ranker, direct.ctr, direct.ctr_weight)
    stop = stop_on_signals()
    if settings.direct.metrics_port:
        start_http_server(settings.direct.metrics_port, addr=settings.service.host)
    redis = make_redis(settings.redis, settings.redis.write_timeout_ms)
    try:
        await _wait_for_store(settings, redis, stop)
        async with VllmGenerator(settings.vllm) as generator:
            _log.info("direct: working for %s on %s", settings.vllm.model, settings.vllm.url)
            lists = ListMaker(catalogue, settings, ranker)
            worker = DirectWorker(DueQueue(redis, settings), shopper_canary(generator, catalogue), lists, settings)
            await worker.run(stop)
            _log.info("direct: stopped after %d refreshes", worker.refreshed)
    finally:
        await redis.aclose()


async def _wait_for_store(settings: Settings, redis: Redis, stop: asyncio.Event) -> None:
    """Wait until Redis answers; insist on its partition count."""
    while not stop.is_set():
        try:
            await check_partitions(redis, Keys(settings.redis.namespace, settings.redis.partitions))
        except StoreUnavailable as error:
            _log.warning("direct: %s; trying again in 1 s", error)
            await asyncio.sleep(1.0)
        else:
            return
