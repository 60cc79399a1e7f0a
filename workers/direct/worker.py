"""The Direct loop: when to claim how many shoppers. Several batches are at work at once."""

import asyncio
import logging
import random
import time
from collections.abc import Coroutine, Sequence
from typing import Any, Final

from service.contracts.errors import AigqError, GeneratorError, RefreshFailed, StoreUnavailable
from service.contracts.settings import Settings
from workers.common.generator import Generator
from workers.common.loop import backoff_s
from workers.direct import metrics
from workers.direct.lists import ListMaker
from workers.direct.queue import DueQueue, Lease
from workers.direct.refresh import Refresher

_log = logging.getLogger(__name__)
_LOOK_S: Final = 5.0
"""Between two looks at the queue's depth."""
_ASK_AGAIN_S: Final = 0.3
_CACHE_FULL: Final = 0.9
"""Of vLLM's KV cache: with more in use it soon preempts what it generates, and begins that anew later."""


class DirectWorker:
    """One worker; start as many as the queue needs."""

    def __init__(self, queue: DueQueue, generator: Generator, lists: ListMaker, settings: Settings) -> None:
        """Generate with `generator` for the shoppers of `queue`, as `lists` says."""
        self._queue = queue
        self._generator = generator
        self._settings = settings
        self._refresher = Refresher(queue, generator, lists, settings)
        self._healthy = False
        """Whether the model has given a sign of life since the start, or the last failure."""
        self._enough = (0, 0.0)
        """How many batches were at work when the model had enough, and until when that is taken for granted."""
        self._failures = 0
        self._resume_at = 0.0
        self._looked_at = -_LOOK_S

    @property
    def refreshed(self) -> int:
        """How many shoppers' refreshes ended."""
        return self._refresher.refreshed

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; batches at work are then given back. Failures back off, nothing is lost."""
        stopping = asyncio.create_task(stop.wait())
        batches: dict[asyncio.Task[None], list[Lease]] = {}
        try:
            while not (stop.is_set() or stopping.done()):  # done: a loop that closes cancels whatever waits
                try:
                    await self._look()
                    wanted = await _unless(stopping, self._wants([len(leases) for leases in batches.values()]))
                    leases = await self._claim() if wanted else []
                except (StoreUnavailable, GeneratorError) as error:
                    self._failed(error)
                    leases = []
                if leases:
                    batches[asyncio.create_task(self._work(leases))] = leases
                    continue
                waited = {stopping, *batches}
                await asyncio.wait(waited, timeout=self._settings.direct.poll_s, return_when=asyncio.FIRST_COMPLETED)
                batches = {batch: leases for batch, leases in batches.items() if not batch.done()}
        finally:
            for task in (stopping, *batches):
                task.cancel()
            await asyncio.gather(stopping, *batches, return_exceptions=True)
            # Here, since a task that is cancelled before its first step gives nothing back.
            await self._return([lease for batch, leases in batches.items() if batch.cancelled() for lease in leases])

    async def step(self) -> int:
        """Refresh one batch; return how many shoppers were in it.

        Raises:
            StoreUnavailable, GeneratorError, RefreshFailed: see `Refresher.refresh`.
        """
        leases = await self._queue.claim(self._refresher.size)
        if leases:
            await self._refresher.refresh(leases)
        return len(leases)

    async def _look(self) -> None:
        """Tell the metrics now and then what waits."""
        now = time.monotonic()
        if now < self._looked_at + _LOOK_S:
            return
        backlog = await self._queue.look()
        metrics.DUE.set(backlog.shoppers)
        metrics.OLDEST.set(backlog.oldest_late_s)
        metrics.DEFERRED.set(backlog.deferred)
        self._looked_at = now

    async def _wants(self, at_work: Sequence[int]) -> bool:
        """Whether to claim another batch, beside those at work of these sizes.

        Shoppers that are not claimed stay due: that is the backpressure.
        """
        if time.monotonic() < self._resume_at or len(at_work) >= self._settings.direct.in_flight:
            return False
        if not self._healthy:
            await self._generator.check()  # no claims while there is nobody to generate
            self._healthy = True
        return await self._room(at_work)

    async def _claim(self) -> list[Lease]:
        leases = await self._queue.claim(self._refresher.size)
        for lease in leases:
            metrics.LATENESS.observe(lease.late_ms / 1000)
        return leases

    async def _return(self, leases: Sequence[Lease]) -> None:
        """Make shoppers due again at once, whose batches were at work when told to stop."""
        try:
            await self._queue.release(leases, 0.0)
        except StoreUnavailable as error:
            _log.warning("direct: leases expire by themselves: %s", error)

    async def _room(self, at_work: Sequence[int]) -> bool:
        """Whether the model should get another batch: always while that makes two, one to generate, one to follow it.

        Then it is asked, unless it had enough just now and none of our batches has ended since: asking costs it time.
        """
        if sum(at_work) <= self._settings.direct.batch_size:
            return True
        if self._refresher.preparing >= self._settings.direct.batch_size:
            return False  # the model cannot tell yet that these wait, too
        with_, until = self._enough
        if len(at_work) == with_ and time.monotonic() < until:
            return False
        load = await self._generator.load()
        metrics.WAITING.set(load.waiting)
        metrics.RUNNING.set(load.running)
        metrics.CACHE.set(load.cache)
        if load.waiting < self._settings.direct.batch_size and load.cache <= _CACHE_FULL:
            return True
        self._enough = (len(at_work), time.monotonic() + _ASK_AGAIN_S)
        return False

    async def _work(self, leases: Sequence[Lease]) -> None:
        """Refresh a batch as a task: failures are counted."""
        try:
            await self._refresher.refresh(leases)
            self._failures = 0
        except (StoreUnavailable, GeneratorError, RefreshFailed) as error:
            self._failed(error)

    def _failed(self, error: AigqError) -> None:
        """Count a failure and claim nothing for a while: a circuit breaker, of which `check` is the probe."""
        self._failures += 1
        seconds = backoff_s(self._failures) * random.uniform(0.5, 1.0)  # noqa: S311  (workers not to come back in step)
        self._healthy = False
        self._resume_at = time.monotonic() + seconds
        metrics.FAILURES.labels(type(error).__name__).inc()
        _log.warning("direct: %s; trying again in %.1f s, due shoppers stay due", error, seconds)


async def _unless(told: asyncio.Task[bool], asked: Coroutine[Any, Any, bool]) -> bool:
    """Return what is `asked`; False, without waiting for it, once `told` to stop."""
    task = asyncio.create_task(asked)
    try:
        await asyncio.wait({told, task}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        task.cancel()
    await asyncio.wait({task})
    return not task.cancelled() and task.result()
