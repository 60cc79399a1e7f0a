"""`aigq direct`: run a nearline worker."""

import asyncio
import logging
from pathlib import Path
from typing import Annotated

import typer
from prometheus_client import start_http_server
from redis.asyncio import Redis

from service.contracts.errors import StoreUnavailable
from service.contracts.keys import Keys
from service.contracts.redis import check_partitions, make_redis
from service.contracts.settings import Settings, load_settings
from service.ranking.catalogue import Catalogue
from workers.common.loop import stop_on_signals
from workers.common.ranked_list import open_ranker
from workers.common.vllm_client import VllmGenerator
from workers.direct.queue import DueQueue
from workers.direct.worker import DirectWorker

app = typer.Typer(help="Run a nearline worker (AIGQ-Direct).")
_log = logging.getLogger(__name__)


@app.command(epilog="Example: aigq direct --config configs/demo.toml")
def direct(config: Annotated[Path | None, typer.Option(help="settings file (TOML)")] = None) -> None:
    """Keep shoppers' lists fresh until stopped (Ctrl-C or SIGTERM)."""
    asyncio.run(_run(load_settings(config)))


async def _run(settings: Settings) -> None:
    catalogue = Catalogue.open(settings.service.artefacts)
    ranker = None if settings.direct.ranker is None else open_ranker(settings.direct.ranker)
    stop = stop_on_signals()
    if settings.direct.metrics_port:
        start_http_server(settings.direct.metrics_port, addr=settings.service.host)
    redis = make_redis(settings.redis, settings.redis.write_timeout_ms)
    try:
        await _wait_for_store(settings, redis, stop)
        async with VllmGenerator(settings.vllm) as generator:
            _log.info("direct: working for %s on %s", settings.vllm.model, settings.vllm.url)
            worker = DirectWorker(DueQueue(redis, settings), generator, catalogue, settings, ranker)
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
