"""The Direct loop: claim, read, render, generate, parse, write. Several batches are at work at once."""

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Sequence
from typing import Final

from service.contracts.codecs import QueryList, encode_list
from service.contracts.errors import AigqError, GeneratorError, GeneratorUnavailable, PromptRefused, StoreUnavailable
from service.contracts.settings import Settings
from workers.common.generator import Generation, Generator
from workers.common.loop import backoff_s
from workers.direct import metrics
from workers.direct.lists import ListMaker
from workers.direct.queue import DueQueue, DueShopper, Lease, Refresh

_log = logging.getLogger(__name__)
_LOOK_S: Final = 5.0
"""Between two looks at the queue's depth."""
_ASK_AGAIN_S: Final = 0.3
_CACHE_FULL: Final = 0.9
"""Of vLLM's KV cache: with more in use it soon preempts what it generates, and begins that anew later."""
_LEASE_SHARE: Final = 0.8
"""Of a lease that generating may take: a living worker gives back what it cannot finish before another takes over."""

Answer = Generation | GeneratorError


class DirectWorker:
    """One worker; start as many as the queue needs."""

    def __init__(self, queue: DueQueue, generator: Generator, lists: ListMaker, settings: Settings) -> None:
        """Generate with `generator` for the shoppers of `queue`, as `lists` says."""
        self._queue = queue
        self._generator = generator
        self._lists = lists
        self._settings = settings
        self._size = settings.direct.batch_size
        self._healthy = False
        """Whether the model has given a sign of life since the start, or the last failure."""
        self._enough = (0, 0.0)
        """How many batches were at work when the model had enough, and until when that is taken for granted."""
        self._failures = 0
        self._resume_at = 0.0
        self._looked_at = -_LOOK_S
        self.refreshed = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; batches at work are then given back. Failures back off, nothing is lost."""
        stopping = asyncio.create_task(stop.wait())
        batches: dict[asyncio.Task[None], int] = {}
        try:
            while not stop.is_set():
                try:
                    leases = await self._next(list(batches.values()))
                except (StoreUnavailable, GeneratorError) as error:
                    self._failed(error)
                    leases = []
                if leases:
                    batches[asyncio.create_task(self._work(leases))] = len(leases)
                    continue
                waited = {stopping, *batches}
                await asyncio.wait(waited, timeout=self._settings.direct.poll_s, return_when=asyncio.FIRST_COMPLETED)
                batches = {batch: size for batch, size in batches.items() if not batch.done()}
        finally:
            for task in (stopping, *batches):
                task.cancel()
            await asyncio.gather(stopping, *batches, return_exceptions=True)

    async def step(self) -> int:
        """Refresh one batch; return how many shoppers were in it.

        Raises:
            StoreUnavailable, GeneratorError: nothing was written; the shoppers are due again.
        """
        leases = await self._queue.claim(self._size)
        if leases:
            await self._refresh(leases)
        return len(leases)

    async def _next(self, at_work: Sequence[int]) -> list[Lease]:
        """Return the next batch, beside those at work of these sizes; empty if nobody is due, or that is enough.

        Shoppers that are not claimed stay due: that is the backpressure.
        """
        now = time.monotonic()
        if now >= self._looked_at + _LOOK_S:
            backlog = await self._queue.look()
            metrics.DUE.set(backlog.shoppers)
            metrics.OLDEST.set(backlog.oldest_late_s)
            metrics.DEFERRED.set(backlog.deferred)
            self._looked_at = now
        if now < self._resume_at or len(at_work) >= self._settings.direct.in_flight:
            return []
        if not self._healthy:
            await self._generator.check()  # no claims while there is nobody to generate
            self._healthy = True
        if not await self._room(at_work):
            return []
        leases = await self._queue.claim(self._size)
        for lease in leases:
            metrics.LATENESS.observe(lease.late_ms / 1000)
        return leases

    async def _room(self, at_work: Sequence[int]) -> bool:
        """Whether the model should get another batch: always while that makes two, one to generate, one to follow it.

        Then it is asked, unless it had enough just now and none of our batches has ended since: asking costs it time.
        """
        if sum(at_work) <= self._settings.direct.batch_size:
            return True
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
        """Refresh a batch as a task: failures are counted, a cancelled batch is given back."""
        try:
            await self._refresh(leases)
            self._failures = 0
        except (StoreUnavailable, GeneratorError) as error:
            self._failed(error)
        except asyncio.CancelledError:
            try:
                await self._queue.release(leases, 0.0)
            except StoreUnavailable as error:
                _log.warning("direct: leases expire by themselves: %s", error)
            raise

    def _failed(self, error: AigqError) -> None:
        """Count a failure and claim nothing for a while: a circuit breaker, of which `check` is the probe."""
        self._failures += 1
        seconds = backoff_s(self._failures) * random.uniform(0.5, 1.0)  # noqa: S311  (workers not to come back in step)
        self._healthy = False
        self._resume_at = time.monotonic() + seconds
        metrics.FAILURES.labels(type(error).__name__).inc()
        _log.warning("direct: %s; trying again in %.1f s, due shoppers stay due", error, seconds)

    async def _refresh(self, leases: Sequence[Lease]) -> None:
        self._lists.reload()
        shoppers = await self._let_go(await self._queue.read(leases))
        digests = [self._lists.digest(shopper) for shopper in shoppers]
        done: list[tuple[DueShopper, QueryList]] = []
        asked: list[int] = []
        for at, (shopper, digest) in enumerate(zip(shoppers, digests, strict=True)):
            same = self._lists.unchanged(shopper, digest)
            if same is None:
                asked.append(at)
            else:
                done.append((shopper, same))
        unchanged = len(done)
        drafts = [self._lists.draft(shoppers[at], digests[at]) for at in asked]
        answers = await self._ask([draft.prompt for draft in drafts], [shoppers[at].lease.tries for at in asked])
        drops: Counter[str] = Counter()
        failed: list[tuple[DueShopper, GeneratorError]] = []
        for at, draft, answer in zip(asked, drafts, answers, strict=True):
            if isinstance(answer, Generation):
                metrics.TOKENS.inc(answer.tokens)
                done.append((shoppers[at], self._lists.make(shoppers[at], answer, draft, drops)))
            else:
                failed.append((shoppers[at], answer))
        for reason, count in drops.items():
            metrics.DROPS.labels(reason).inc(count)
        outcomes = await self._queue.complete(
            [Refresh(shopper, encode_list(shopper.lease.sid, value)) for shopper, value in done]
        )
        for number, outcome in enumerate(outcomes):
            kept = number < unchanged and outcome in {"done", "again"}
            metrics.REFRESHES.labels("unchanged" if kept else outcome).inc()
        self.refreshed += len(outcomes)
        if failed:
            await self._give_back(failed)

    async def _let_go(self, shoppers: Sequence[DueShopper]) -> list[DueShopper]:
        """Return the shoppers for whom a list is worth its price; the others get theirs when they come back."""
        since = time.time() - self._settings.queue.let_go_s
        idle = [one for one in shoppers if not (one.lease.ahead or one.active(since))]
        for outcome in await self._queue.let_go(idle):
            metrics.REFRESHES.labels(outcome).inc()
        self.refreshed += len(idle)
        return [one for one in shoppers if one not in idle]

    async def _ask(self, prompts: Sequence[str], tries: Sequence[int]) -> list[Answer]:
        """Return an answer or an error a prompt. Whose last try failed is asked alone, not to take others along."""
        together = [at for at, failed in enumerate(tries) if not failed]
        groups = [together, *([at] for at, failed in enumerate(tries) if failed)]
        answers: dict[int, Answer] = {}

        async def ask(group: Sequence[int]) -> None:
            try:
                found = await self._generator.generate([prompts[at] for at in group])
            except GeneratorError as error:
                answers.update(dict.fromkeys(group, error))
                return
            for at, generation in zip(group, found, strict=True):
                answers[at] = generation or PromptRefused("the model refuses the prompt")

        limit_s = self._settings.queue.lease_s * _LEASE_SHARE
        slow = GeneratorUnavailable(f"no answer within {limit_s:g} s, {_LEASE_SHARE:.0%} of queue.lease_s")
        try:
            async with asyncio.timeout(limit_s):
                with metrics.GENERATION_SECONDS.time():
                    await asyncio.gather(*(ask(group) for group in groups if group))
            self._size = min(self._settings.direct.batch_size, 2 * self._size)
        except TimeoutError:
            self._size = max(1, self._size // 2)  # smaller batches are answered sooner
        return [answers.get(at, slow) for at in range(len(prompts))]

    async def _give_back(self, failed: Sequence[tuple[DueShopper, GeneratorError]]) -> None:
        """Give shoppers back. It counts against them only if the model is there for others.

        Raises:
            GeneratorError: the model does not answer, or failed a whole batch.
        """
        unanswered = [(shopper, error) for shopper, error in failed if not isinstance(error, PromptRefused)]
        if unanswered:
            try:
                await self._generator.check()
            except GeneratorError:
                leases = [shopper.lease for shopper, _ in unanswered]
                await self._queue.release(leases, self._settings.queue.retry_s)
                failed = [one for one in failed if one not in unanswered]
        outcomes = await self._queue.fail([(shopper, str(error)) for shopper, error in failed])
        for (shopper, error), outcome in zip(failed, outcomes, strict=True):
            metrics.REFRESHES.labels("dead" if outcome == "dead" else "failed").inc()
            _log.error("direct: shopper %s: %s; now %s", shopper.lease.sid, error, outcome)
        for shopper, error in unanswered:
            if (shopper, error) not in failed or not shopper.lease.tries:
                raise error
