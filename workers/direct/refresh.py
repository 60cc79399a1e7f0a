"""A batch of due shoppers: read, render, generate, parse, write; who cannot be refreshed is given back."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeVar

from service.contracts.codecs import QueryList, ScoredQuery, encode_list
from service.contracts.errors import (
    AigqError,
    GeneratorError,
    GeneratorUnavailable,
    NothingUsable,
    PromptRefused,
    RefreshFailed,
    StoreUnavailable,
)
from service.contracts.settings import Settings
from workers.common.generator import Generation, Generator
from workers.direct import metrics
from workers.direct.lists import Draft, ListMaker
from workers.direct.queue import DueQueue, DueShopper, Lease, Refresh

_log = logging.getLogger(__name__)
_LEASE_SHARE: Final = 0.8
"""Of a lease that generating may take: a living worker gives back what it cannot finish before another takes over."""

Answer = Generation | GeneratorError
Failures = list[tuple[DueShopper, AigqError]]
T = TypeVar("T")


class Refresher:
    """Makes lists of leases.

    `size` is how many at once are answered in time, `preparing` how many the model has not been asked for yet,
    `refreshed` how many refreshes have ended.
    """

    def __init__(self, queue: DueQueue, generator: Generator, lists: ListMaker, settings: Settings) -> None:
        """Generate with `generator` for shoppers of `queue`, as `lists` says."""
        self._queue = queue
        self._generator = generator
        self._lists = lists
        self._settings = settings
        self.size = settings.direct.batch_size
        self.preparing = 0
        self.refreshed = 0

    async def refresh(self, leases: Sequence[Lease]) -> None:
        """Write the lists of a batch.

        Raises:
            StoreUnavailable: Redis does not answer; what is not written is due again when its lease expires.
            GeneratorError: the model does not answer, or failed a whole batch; the shoppers are given back.
            RefreshFailed: an error of ours failed a whole batch; the shoppers are given back.
        """
        try:
            await self._refresh(leases)
        except (StoreUnavailable, GeneratorError, RefreshFailed):
            raise
        except Exception as error:
            _log.exception("direct: a batch of %d shoppers", len(leases))
            failed = RefreshFailed(repr(error))
            await self._fail([(lease, None, failed) for lease in leases])
            raise failed from error

    async def _refresh(self, leases: Sequence[Lease]) -> None:
        failed: Failures = []
        planned = await self._planned(leases, failed)
        done = [(shopper, plan) for shopper, plan in planned if isinstance(plan, QueryList)]
        unchanged = len(done)
        done += await self._generated([(one, plan) for one, plan in planned if isinstance(plan, Draft)], failed)
        outcomes = await self._queue.complete(
            [Refresh(shopper, encode_list(shopper.lease.sid, value)) for shopper, value in done]
        )
        for number, outcome in enumerate(outcomes):
            kept = number < unchanged and outcome in {"done", "again"}
            metrics.REFRESHES.labels("unchanged" if kept else outcome).inc()
        self.refreshed += len(outcomes)
        if failed:
            await self._give_back(failed)
        ours = [error for _, error in failed if isinstance(error, RefreshFailed)]
        if len(ours) == len(failed) > 1 and not done:
            raise ours[0]

    async def _planned(self, leases: Sequence[Lease], failed: Failures) -> list[tuple[DueShopper, Draft | QueryList]]:
        """Return what is asked for each shopper, or the list that is as good as new."""
        self.preparing += len(leases)
        try:
            self._lists.reload()
            read, unreadable = await self._queue.read(leases)
            if unreadable:
                metrics.FAILURES.labels("CorruptValue").inc(len(unreadable))
                await self._fail([(one.lease, None, RefreshFailed(one.reason)) for one in unreadable])
            shoppers = await self._let_go(read)
            plans = [(shopper, _attempt(failed, shopper, partial(self._lists.plan, shopper))) for shopper in shoppers]
        finally:
            self.preparing -= len(leases)
        return [(shopper, plan) for shopper, plan in plans if plan is not None]

    async def _generated(
        self, asked: Sequence[tuple[DueShopper, Draft]], failed: Failures
    ) -> list[tuple[DueShopper, QueryList]]:
        """Return the lists of those whom the model answers; the others are `failed`."""
        answers = await self._ask([draft.prompt for _, draft in asked], [one.lease.tries for one, _ in asked])
        drops: Counter[str] = Counter()
        written: list[tuple[DueShopper, Draft, Sequence[ScoredQuery]]] = []
        for (shopper, draft), answer in zip(asked, answers, strict=True):
            if isinstance(answer, Generation):
                metrics.TOKENS.inc(answer.tokens)
                written.append((shopper, draft, self._lists.read(shopper, answer, drops)))
            else:
                failed.append((shopper, answer))
        for reason, count in drops.items():
            metrics.DROPS.labels(reason).inc(count)
        doubt = await self._doubt([queries for _, _, queries in written])
        if doubt is not None:
            failed += [(shopper, doubt) for shopper, _, _ in written]
            return []
        made = [
            (one, _attempt(failed, one, partial(self._lists.make, one, queries, draft)))
            for one, draft, queries in written
        ]
        return [(one, value) for one, value in made if value is not None]

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
            self.size = min(self._settings.direct.batch_size, 2 * self.size)
        except TimeoutError:
            self.size = max(1, self.size // 2)  # smaller batches are answered sooner
        return [answers.get(at, slow) for at in range(len(prompts))]

    async def _doubt(self, written: Sequence[Sequence[ScoredQuery]]) -> GeneratorError | None:
        """Return why nothing of what the model wrote for a batch is to be used; None if it is.

        A model that went wrong writes nothing usable for anybody. A single answer may be so by right, of a model that
        passes its check.
        """
        empty = sum(not queries for queries in written)
        if not empty:
            return None
        metrics.EMPTY.inc(empty)
        _log.warning("direct: no query that may be shown in %d of %d answers", empty, len(written))
        if empty < len(written):
            return None
        if empty > 1:
            return NothingUsable(f"no query that may be shown in any of {empty} answers")
        try:
            await self._generator.check()
        except GeneratorError as error:
            return error
        return None

    async def _give_back(self, failed: Failures) -> None:
        """Give shoppers back. It counts against them only if the model is there for others.

        Raises:
            GeneratorError: the model does not answer, or failed a whole batch.
        """
        unanswered = [
            (shopper, error)
            for shopper, error in failed
            if isinstance(error, GeneratorError) and not isinstance(error, PromptRefused)
        ]
        if unanswered:
            try:
                await self._generator.check()
            except GeneratorError:
                leases = [shopper.lease for shopper, _ in unanswered]
                await self._queue.release(leases, self._settings.queue.retry_s)
                failed = [one for one in failed if one not in unanswered]
        await self._fail([(shopper.lease, shopper.seq, error) for shopper, error in failed])
        for shopper, error in unanswered:
            if (shopper, error) not in failed or not shopper.lease.tries:
                raise error

    async def _fail(self, failures: Sequence[tuple[Lease, int | None, AigqError]]) -> None:
        """Give shoppers back, each with the `seq` that was read, if it was, and the reason; it counts as a try."""
        outcomes = await self._queue.fail([(lease, seq, str(error)) for lease, seq, error in failures])
        for (lease, _, error), outcome in zip(failures, outcomes, strict=True):
            metrics.REFRESHES.labels("dead" if outcome == "dead" else "failed").inc()
            _log.error("direct: shopper %s: %s; now %s", lease.sid, error, outcome)


def _attempt(failed: Failures, shopper: DueShopper, make: Callable[[], T]) -> T | None:
    """Return what `make` makes of a shopper, or None. What it raises is an error of ours, not to fail others with."""
    try:
        return make()
    except Exception as error:  # noqa: BLE001  (whatever it is, it is told and ends as a dead letter)
        _log.exception("direct: shopper %s", shopper.lease.sid)
        metrics.FAILURES.labels(type(error).__name__).inc()
        failed.append((shopper, RefreshFailed(repr(error))))
        return None
