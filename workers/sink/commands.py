"""`aigq sink`: drain the event streams."""

import asyncio
import logging
import signal
from pathlib import Path
from typing import Annotated

import orjson
import typer
from prometheus_client import start_http_server

from service.contracts.errors import ArtefactError, StoreUnavailable
from service.contracts.keys import Keys
from service.contracts.redis import check_partitions, make_redis
from service.contracts.settings import Settings, load_settings
from workers.common.pause import pause
from workers.sink import metrics
from workers.sink.drain import Sink
from workers.sink.parts import PartStore

app = typer.Typer(help="Drain events and served lists to Parquet logs.")
_log = logging.getLogger(__name__)
_RETRY_S = 2.0


@app.command(epilog="Example: aigq sink --out var/logs; later: aigq import var/logs/dt=*/*.parquet --items ...")
def sink(
    out: Annotated[Path, typer.Option(help="directory of the logs; parts appear in OUT/dt=YYYY-MM-DD")],
    *,
    once: Annotated[bool, typer.Option("--once", help="drain what is there, then end (for cron)")] = False,
    config: Annotated[Path | None, typer.Option(help="settings file (TOML)")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="last line: lines written, by type")] = False,
) -> None:
    """Write each log line once, whatever is killed; trim streams behind what is written. Ctrl-C writes what waits."""
    written = asyncio.run(_run(load_settings(config), out, once=once))
    if as_json:
        typer.echo(orjson.dumps({"out": str(out), "rows": sum(written.values()), "types": written}))


async def _run(settings: Settings, out: Path, *, once: bool) -> dict[str, int]:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for received in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(received, stop.set)
    if settings.sink.metrics_port:
        start_http_server(settings.sink.metrics_port, addr=settings.service.host)
    redis = make_redis(settings.redis, settings.redis.write_timeout_ms)
    keys = Keys(settings.redis.namespace, settings.redis.partitions)
    draining = Sink(redis, keys, PartStore(out), settings.sink)
    try:
        while not stop.is_set():
            try:
                await check_partitions(redis, keys)
                await draining.open()
                _log.info("sink: drains to %s", out)
                await _drain(draining, settings, out, stop, once=once)
                await draining.close()
                break
            except StoreUnavailable as error:
                metrics.FAILURES.labels("redis").inc()
                _log.warning("sink: %s; what waits is not confirmed, so it is read again", error)
                await pause(stop, _RETRY_S)
    finally:
        await redis.aclose()
    _log.info("sink: wrote %d lines", draining.written.total())
    return dict(draining.written)


async def _drain(draining: Sink, settings: Settings, out: Path, stop: asyncio.Event, *, once: bool) -> None:
    while True:
        try:
            taken = await draining.step()
            if stop.is_set() or (once and not taken):
                return await draining.flush()
            if not taken:
                await pause(stop, settings.sink.poll_s)
        except OSError as error:
            metrics.FAILURES.labels("disk").inc()
            problem = f"{out}: cannot be written ({error.strerror}); nothing is lost, free space or rights and"
            if stop.is_set() or once:
                raise ArtefactError(f"{problem} start the sink again") from error
            _log.warning("sink: %s it goes on", problem)
            await pause(stop, _RETRY_S)
