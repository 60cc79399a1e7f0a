"""What lives as long as the process: typed, built once in the lifespan, closed in reverse order."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from random import Random
from typing import Any

import orjson
from redis.asyncio import Redis
from redis.exceptions import RedisError

from service.breaker import CircuitBreaker
from service.clustered import Pipelined, open_pipelined
from service.contracts.errors import ConfigError, StoreUnavailable
from service.contracts.keys import Keys, named_at
from service.contracts.redis import check_partitions, make_redis
from service.contracts.settings import Settings
from service.experiments import Experiments
from service.metrics import (
    BACKGROUND_FAILURES,
    BREAKER_OPEN,
    LOOP_LAG,
    POOL_WAIT,
    STORE_UP,
    X2Q_COVERED,
    X2Q_LISTS,
    X2Q_PUBLISHED,
)
from service.ranking.catalogue import Catalogue, open_catalogue
from service.recall.x2q import X2QReader
from service.served_log import ServedLog
from service.stale import StaleLists
from service.store import ShopperStore

_log = logging.getLogger(__name__)
_POLL_S = 1.0
_STAND_IN_S = 1.0
_CANCEL_S = 0.1


@dataclass(slots=True)
class State:
    """The service's parts. `x2q_version` and `store_problem` are refreshed each second by `watch`."""

    settings: Settings
    keys: Keys
    catalogue: Catalogue
    poll_redis: Redis
    reader: Pipelined
    breaker: CircuitBreaker
    shoppers: ShopperStore
    x2q: X2QReader
    served: ServedLog
    stale: StaleLists
    experiments: Experiments
    chance: Random
    x2q_version: str | None = None
    x2q_flip: tuple[str | None, float] = (None, 0.0)
    """The version before, and until when (monotonic seconds) it may stand in for lists that are being read."""
    store_problem: str | None = "not polled yet"
    wrong_partitions: bool = False

    def may_read(self) -> bool:
        """Whether to ask Redis for a shopper now; under another P we would look in the wrong place."""
        return not self.wrong_partitions and self.breaker.allow()

    def x2q_before(self) -> str | None:
        """Return the version before a flip that was a moment ago."""
        version, until = self.x2q_flip
        return version if time.monotonic() < until else None

    async def poll(self) -> None:
        """Refresh what is known of Redis and of the artefact."""
        try:
            await check_partitions(self.poll_redis, self.keys)
            raw = await self.poll_redis.get(self.keys.x2q_pointer())
            pointer = str(raw, "ascii") if isinstance(raw, bytes) else None
        except (StoreUnavailable, ConfigError, RedisError, OSError, ValueError) as error:  # ValueError: not ours
            if self.store_problem is None or isinstance(error, ConfigError):
                _log.warning("redis: %s", error)
            self.store_problem = str(error)
            self.wrong_partitions = isinstance(error, ConfigError)
            STORE_UP.set(0)
        else:
            if self.store_problem is not None:
                _log.info("redis: answers")
            self.store_problem = None
            self.wrong_partitions = False
            if pointer != self.x2q_version:
                self.x2q_flip = self.x2q_version, time.monotonic() + _STAND_IN_S
                self.x2q_version = pointer
                await self._tell_x2q()
            STORE_UP.set(1)
        X2Q_PUBLISHED.set(named_at(self.x2q_version))
        BREAKER_OPEN.set(self.breaker.state != "closed")
        self.shoppers.refuse(self.store_problem if self.wrong_partitions else None)
        self.catalogue = await asyncio.to_thread(self.catalogue.renewed, self.settings.service.artefacts)

    async def _tell_x2q(self) -> None:
        """Tell what the current version says of itself."""
        info: dict[str, Any] = {}
        with suppress(RedisError, OSError, ValueError):  # a figure less, until the next version
            raw = await self.poll_redis.get(self.keys.x2q_info(self.x2q_version)) if self.x2q_version else None
            found = orjson.loads(raw) if raw else {}
            info = found if isinstance(found, dict) else {}
        X2Q_LISTS.set(info.get("filled", 0))
        X2Q_COVERED.set((info.get("covered") or {}).get("all", 0))

    async def watch(self) -> None:
        """Poll until cancelled."""
        while True:
            await self.poll()
            due = time.monotonic() + _POLL_S
            await asyncio.sleep(_POLL_S)
            LOOP_LAG.set(time.monotonic() - due)


@asynccontextmanager
async def open_state(settings: Settings) -> AsyncIterator[State]:
    """Build the state; neither Redis nor vLLM need be there.

    Raises:
        ArtefactError: there is no catalogue artefact, so there would be nothing to fall back to.
        ConfigError: the Redis URL is malformed.
    """
    keys = Keys(settings.redis.namespace, settings.redis.partitions)
    async with AsyncExitStack() as stack:
        poll_redis = make_redis(settings.redis, settings.redis.read_timeout_ms)
        stack.push_async_callback(poll_redis.aclose)
        reader = open_pipelined(settings.redis, settings.redis.read_timeout_ms)
        stack.push_async_callback(reader.aclose)
        logger = open_pipelined(settings.redis, settings.redis.write_timeout_ms)
        stack.push_async_callback(logger.aclose)
        write_redis = make_redis(settings.redis, settings.redis.write_timeout_ms, POOL_WAIT.labels("write").observe)
        stack.push_async_callback(write_redis.aclose)
        state = State(
            settings=settings,
            keys=keys,
            catalogue=open_catalogue(settings.service),  # kept nowhere else
            poll_redis=poll_redis,
            reader=reader,
            breaker=CircuitBreaker(settings.service.breaker_failures, settings.service.breaker_reset_s),
            shoppers=ShopperStore(write_redis, keys, settings),
            x2q=X2QReader(reader, keys),
            served=ServedLog(logger, keys, settings.redis.stream_maxlen),
            stale=StaleLists(
                write_redis,
                keys,
                settings.direct.u2q_fresh_s,
                model=settings.vllm.model,
                renew_per_s=settings.direct.renew_per_s,
            ),
            experiments=Experiments(settings.experiments),
            chance=Random(),  # noqa: S311  (exploration, not secrets)
        )
        await state.poll()
        for loop in (state.watch, state.served.run, state.stale.run):
            task = asyncio.create_task(_endless(loop, loop.__qualname__), name=loop.__qualname__)
            stack.push_async_callback(_stop, task)
        try:
            yield state
        finally:
            await state.served.flush()
            state.catalogue.close()


async def _endless(loop: Callable[[], Awaitable[None]], name: str) -> None:
    """Run `loop` until cancelled. An error that nobody foresaw is told and counted, and does not end it."""
    while True:
        try:
            await loop()
        except Exception:  # noqa: BLE001  (whatever it is)
            _log.exception("%s failed and begins again in %g s", name, _POLL_S)
            BACKGROUND_FAILURES.labels(name).inc()
            await asyncio.sleep(_POLL_S)


async def _stop(task: asyncio.Task[None]) -> None:
    """Cancel until it ends: redis-py 8.1 loses a cancellation that arrives at the same moment as a reply."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=_CANCEL_S)
