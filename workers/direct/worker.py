"""The Direct loop: claim, read, render, generate, parse, write."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Sequence

from service.contracts.codecs import QUERY_TYPES, QueryList, ScoredQuery, encode_list
from service.contracts.errors import ArtefactError, GeneratorError, StoreUnavailable
from service.contracts.settings import Settings
from service.ranking.catalogue import Catalogue, current_version
from service.ranking.merge import recent_searches
from service.ranking.shopper_context import ShopperContext
from workers.common.generator import Generation, Generator
from workers.common.list_parser import parse_list
from workers.common.loop import backoff_s, pause
from workers.common.prompt import Action, render_u2q
from workers.common.ranked_list import Ranker, ranked_list
from workers.direct import metrics
from workers.direct.queue import DueQueue, DueShopper, Lease, Refresh

_log = logging.getLogger(__name__)
_COUNT_S = 5.0
"""Between two looks at the queue's depth."""


class DirectWorker:
    """One worker; start as many as the queue needs."""

    def __init__(
        self,
        queue: DueQueue,
        generator: Generator,
        catalogue: Catalogue,
        settings: Settings,
        ranker: Ranker | None = None,
    ) -> None:
        """Generate with `generator` for the shoppers of `queue`; without a `ranker`, lists stay as written."""
        self._queue = queue
        self._generator = generator
        self._catalogue = catalogue
        self._settings = settings
        self._ranker = ranker
        self._failures = 0
        self._counted_at = -_COUNT_S
        self.refreshed = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; the batch in hand is finished or given back. Failures back off, nothing is lost."""
        while not stop.is_set():
            try:
                worked = await self.step(stop)
                self._failures = 0
                seconds = 0.0 if worked else self._settings.direct.poll_s
            except (StoreUnavailable, GeneratorError) as error:
                self._failures += 1
                seconds = backoff_s(self._failures)
                metrics.FAILURES.labels(type(error).__name__).inc()
                _log.warning("direct: %s; trying again in %.1f s, due shoppers stay due", error, seconds)
            if seconds:
                await pause(stop, seconds)

    async def step(self, stop: asyncio.Event | None = None) -> int:
        """Refresh one batch; return how many shoppers were in it.

        Raises:
            StoreUnavailable, GeneratorError: nothing was written; the shoppers are due again.
        """
        if self._failures:
            await self._generator.check()  # no claims while there is nobody to generate
        if time.monotonic() >= self._counted_at + _COUNT_S:
            metrics.DUE.set(await self._queue.depth())
            self._counted_at = time.monotonic()
        leases = await self._queue.claim(self._settings.direct.batch_size)
        metrics.OLDEST.set(self._queue.oldest_late_s)
        if not leases:
            return 0
        for lease in leases:
            metrics.LATENESS.observe(lease.late_ms / 1000)
        self._reload_catalogue()
        shoppers = await self._queue.read(leases)
        generations = await self._generate(leases, [self._render(shopper) for shopper in shoppers], stop)
        if generations is None:
            return 0
        refreshes, refused = self._parse(shoppers, generations)
        outcomes = await self._queue.complete(refreshes)
        if refused:
            await self._queue.release(refused, self._settings.queue.retry_s * 30)
        for outcome in outcomes:
            metrics.REFRESHES.labels(outcome).inc()
        self.refreshed += len(outcomes)
        return len(leases)

    def _render(self, shopper: DueShopper) -> str:
        items = self._catalogue.items([entry.ref for entry in shopper.behaviour])
        actions = []
        for entry in reversed(shopper.behaviour):  # oldest first, so that equal times keep the order of arrival
            if entry.type in QUERY_TYPES:
                actions.append(Action(entry.type, entry.ts, entry.ref))
            elif entry.ref in items:  # an item that left the catalogue has nothing to tell
                actions.append(Action(entry.type, entry.ts, items[entry.ref].words))
        return render_u2q(actions, shopper.profile, time.time())

    async def _generate(
        self, leases: Sequence[Lease], prompts: Sequence[str], stop: asyncio.Event | None
    ) -> list[Generation | None] | None:
        """Generate, unless told to stop meanwhile; on failure or stop, the leases are given back."""
        generating = asyncio.ensure_future(self._generator.generate(prompts))
        stopping = asyncio.ensure_future(stop.wait() if stop else asyncio.Event().wait())
        try:
            with metrics.GENERATION_SECONDS.time():
                await asyncio.wait({generating, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if generating.done():
                return generating.result()
            await self._queue.release(leases, 0.0)
        except GeneratorError:
            await self._queue.release(leases, self._settings.queue.retry_s)
            raise
        finally:
            for task in (generating, stopping):
                task.cancel()
            await asyncio.gather(generating, stopping, return_exceptions=True)
        return None

    def _parse(
        self, shoppers: Sequence[DueShopper], generations: Sequence[Generation | None]
    ) -> tuple[list[Refresh], list[Lease]]:
        refreshes: list[Refresh] = []
        refused: list[Lease] = []
        drops: Counter[str] = Counter()
        now_ms = round(time.time() * 1000)
        for shopper, generation in zip(shoppers, generations, strict=True):
            if generation is None:
                refused.append(shopper.lease)
                metrics.REFRESHES.labels("refused").inc()
                _log.error("direct: the model refused the prompt of shopper %s", shopper.lease.sid)
                continue
            metrics.TOKENS.inc(generation.tokens)
            known = recent_searches([(entry.type, entry.ref) for entry in shopper.behaviour])
            # An empty list is written too: it says that the model had nothing new, and other sources fill up.
            queries = parse_list(generation, drops, self._catalogue.finds, known)
            if self._ranker is not None:
                queries = self._rank(self._ranker, shopper, queries, known)
            value = QueryList(shopper.seq, now_ms, self._settings.vllm.model, queries)
            refreshes.append(Refresh(shopper, encode_list(shopper.lease.sid, value)))
        for reason, count in drops.items():
            metrics.DROPS.labels(reason).inc(count)
        return refreshes, refused

    def _rank(
        self, ranker: Ranker, shopper: DueShopper, written: Sequence[ScoredQuery], known: Sequence[str]
    ) -> tuple[ScoredQuery, ...]:
        items = self._catalogue.items([entry.ref for entry in shopper.behaviour])
        context = ShopperContext(time.time(), shopper.behaviour[::-1], shopper.profile, items)
        generated = [one.query for one in written]
        with metrics.RANKING_SECONDS.time():
            ranked = ranked_list(ranker.chances(context, generated), self._catalogue.finds, known)
        kept = sum(one.query in generated for one in ranked)
        metrics.RANKED.labels("generated").inc(kept)
        metrics.RANKED.labels("retrieved").inc(len(ranked) - kept)
        return ranked

    def _reload_catalogue(self) -> None:
        root = self._settings.service.artefacts
        try:
            if current_version(root) != self._catalogue.version:
                self._catalogue = Catalogue.open(root)
        except ArtefactError as error:
            _log.warning("direct: kept artefact %s, since %s", self._catalogue.version, error)
