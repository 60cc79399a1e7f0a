"""`aigq sink`: drain the event streams."""

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import orjson
import typer
from prometheus_client import start_http_server
from redis.asyncio import Redis

from service import telemetry
from service.contracts.errors import ArtefactError, StoreUnavailable
from service.contracts.keys import Keys
from service.contracts.redis import check_partitions, make_redis
from service.contracts.settings import Settings, load_settings
from service.ranking.catalogue import Catalogue
from workers.common.loop import backoff_s, pause, stop_on_signals
from workers.sink import metrics
from workers.sink.drain import Sink
from workers.sink.parts import PartStore, reason
from workers.sink.quality import Quality
from workers.sink.streams import HeldElsewhere, Streams

app = typer.Typer(help="Drain events and served lists to Parquet logs.")
_log = logging.getLogger(__name__)
_LEASE_POLL_S: Final = 0.2


@app.command(epilog="Example: aigq sink --out var/logs; later: aigq import var/logs/dt=*/*.parquet --items ...")
def sink(
    out: Annotated[
        Path | None, typer.Option(help="directory of the logs (default: sink.out); parts appear in OUT/dt=YYYY-MM-DD")
    ] = None,
    *,
    once: Annotated[bool, typer.Option("--once", help="drain what is there, then end (for cron)")] = False,
    config: Annotated[Path | None, typer.Option(help="settings file (TOML)")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="last line: lines written by type, and left out")] = False,
) -> None:
    """Write each log line once, whatever is killed; trim streams behind what is written. Ctrl-C writes what waits."""
    settings = load_settings(config)
    telemetry.set_up_logs(settings.log)
    directory = out or settings.sink.out
    done = asyncio.run(_run(settings, directory, once=once))
    if as_json:
        summary = {"out": str(directory), "rows": done.written.total(), "types": done.written, **done.left_out}
        typer.echo(orjson.dumps({"duplicates": 0, "refused": 0, "rejected": 0} | summary))


async def _run(settings: Settings, out: Path, *, once: bool) -> Sink:
    stop = stop_on_signals()
    if settings.sink.metrics_port:
        start_http_server(settings.sink.metrics_port, addr=settings.service.host)
    redis = make_redis(settings.redis, settings.redis.write_timeout_ms)
    keys = Keys(settings.redis.namespace, settings.redis.partitions)
    try:
        with PartStore(out) as parts:
            streams = Streams(redis, keys, settings.sink.lease_s)
            quality = Quality(_categories(settings.service.artefacts))
            draining = Sink(streams, parts, keys.partitions, settings.sink, quality)
            try:
                await _Loop(draining, redis, keys, settings, out).run(stop, once=once)
                await _write_what_waits(draining, out)
            finally:
                await _let_go(streams)
    finally:
        await redis.aclose()
    _log.info("sink: wrote %d lines in all", draining.written.total())
    return draining


def _categories(root: Path) -> Callable[[str], str | None]:
    """Return what asks the artefact, as it is now, for a query's category; without one, nothing is known of any."""
    try:
        return Catalogue.open(root).query_category
    except ArtefactError as error:
        _log.warning("sink: how categories share the hints is not told: %s", error)
        return lambda _: None


class _Loop:
    """Steps, and what to do when one fails."""

    def __init__(self, draining: Sink, redis: Redis, keys: Keys, settings: Settings, out: Path) -> None:
        self._draining, self._redis, self._keys, self._settings, self._out = draining, redis, keys, settings, out
        self._patience_ends = time.monotonic() + settings.sink.lease_s
        self._opened = False
        self._began = False
        self._failures = 0

    async def run(self, stop: asyncio.Event, *, once: bool) -> None:
        """Drain until `stop` is set; with `once`, until all is read.

        Raises:
            StoreUnavailable, ArtefactError: only with `once`.
            HeldElsewhere: another sink drains these streams, and not one that was killed just now.
        """
        while not stop.is_set():
            try:
                quiet_s = await self._step()
                self._failures = 0
                if once and quiet_s:
                    return
            except HeldElsewhere as error:
                if self._began or time.monotonic() >= self._patience_ends:
                    raise
                quiet_s = _LEASE_POLL_S
                _log.debug("sink: %s", error)
            except StoreUnavailable as error:
                metrics.FAILURES.labels("redis").inc()
                if once:
                    raise
                self._opened = False
                quiet_s = self._back_off()
                _log.warning("sink: %s; trying again in %.1f s, nothing is lost", error, quiet_s)
            except OSError as error:
                metrics.FAILURES.labels("disk").inc()
                if once:
                    raise _unwritable(self._out, error) from error
                quiet_s = self._back_off()
                _log.warning("sink: %s; trying again in %.1f s", _unwritable(self._out, error), quiet_s)
            if quiet_s:
                await pause(stop, quiet_s)

    async def _step(self) -> float:
        """Return how long to wait for the next one (s)."""
        if not self._opened:
            await check_partitions(self._redis, self._keys)
            await self._draining.open()
            self._opened = True
            if not self._began:
                _log.info("sink: drains to %s", self._out)
            self._began = True
        return 0.0 if await self._draining.step() else self._settings.sink.poll_s

    def _back_off(self) -> float:
        self._failures += 1
        return backoff_s(self._failures)


async def _write_what_waits(draining: Sink, out: Path) -> None:
    """Write the last part.

    Raises:
        ArtefactError: the directory cannot be written.
    """
    try:
        await draining.flush()
    except StoreUnavailable as error:
        _log.warning("sink: %s; what is not confirmed is read again by the next sink", error)
    except OSError as error:
        metrics.FAILURES.labels("disk").inc()
        raise _unwritable(out, error) from error


async def _let_go(streams: Streams) -> None:
    """Let the next sink in, also after a failure."""
    try:
        await streams.let_go()
    except StoreUnavailable as error:
        _log.warning("sink: %s; the lease ends by itself", error)


def _unwritable(out: Path, error: OSError) -> ArtefactError:
    return ArtefactError(f"{out}: cannot be written ({reason(error)}); free space or rights, nothing is lost meanwhile")
