"""A Direct worker's surroundings on a real Redis, without the service's process."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from redis.asyncio import Redis

from service.contracts.codecs import QueryList, decode_list
from service.contracts.errors import GeneratorError
from service.contracts.events import EVENT
from service.contracts.keys import Keys, shopper_sid
from service.contracts.settings import Settings
from service.ranking.catalogue import Catalogue
from service.store import ShopperStore
from tests.integration.support import eventually_async
from workers.common.fake_generator import FakeGenerator
from workers.common.generator import Generation, Generator
from workers.common.ranked_list import Ranker
from workers.direct.lists import ListMaker
from workers.direct.queue import DueQueue, Lease, Refresh
from workers.direct.worker import DirectWorker


def echo(prompt: str) -> str:
    """Answer with a list that tells the last search of the prompt."""
    last = prompt.removesuffix("<hints>").rsplit(">", 1)[-1]
    return f"{last} for beginners\n{last} accessories"


class HookedGenerator(FakeGenerator):
    """Lets a test act while the model generates."""

    def __init__(
        self,
        during: Callable[[Sequence[str]], Awaitable[object]],
        reply: Callable[[str], str | None] = echo,
        failures: Sequence[GeneratorError] = (),
    ) -> None:
        """Await `during(prompts)` before each answer."""
        super().__init__(reply, failures)
        self._during = during

    async def generate(self, prompts: Sequence[str]) -> list[Generation | None]:
        """See `Generator.generate`."""
        await self._during(prompts)
        return await super().generate(prompts)


@dataclass(frozen=True)
class Rig:
    """Shoppers act, a worker works, a test looks."""

    settings: Settings
    redis: "Redis[bytes]"
    catalogue: Catalogue

    @property
    def keys(self) -> Keys:
        """The namespace's keys."""
        return Keys(self.settings.redis.namespace, self.settings.redis.partitions)

    @property
    def store(self) -> ShopperStore:
        """What the service writes with."""
        return ShopperStore(self.redis, self.keys, self.settings)

    @property
    def queue(self) -> DueQueue:
        """The queue as one more worker sees it."""
        return DueQueue(self.redis, self.settings)

    def worker(self, generator: Generator | None = None, ranker: Ranker | None = None) -> DirectWorker:
        """Return a worker; it echoes unless told otherwise."""
        lists = ListMaker(self.catalogue, self.settings, ranker)
        return DirectWorker(self.queue, generator or FakeGenerator(echo), lists, self.settings)

    async def search(self, user_id: str, *queries: str) -> None:
        """Let a shopper search."""
        events = [{"user_id": user_id, "type": "search", "query": query} for query in queries]
        await self.store.record([EVENT.validate_python(event) for event in events])

    async def claim_one(self) -> Lease:
        """Claim the only shopper who is due."""
        (lease,) = await self.queue.claim(10)
        return lease

    async def refresh(self, lease: Lease, value: bytes) -> Refresh:
        """Return what a worker with that lease would write now."""
        (shopper,), _ = await self.queue.read([lease])
        return Refresh(shopper, value)

    async def u2q(self, user_id: str) -> QueryList | None:
        """Return the shopper's list."""
        sid = shopper_sid(user_id)
        raw = await self.redis.get(self.keys.u2q(sid))
        return None if raw is None else decode_list(sid, raw)

    async def due(self, user_id: str) -> float | None:
        """Return the shopper's score in the queue (epoch ms)."""
        sid = shopper_sid(user_id)
        score: float | None = await self.redis.zscore(self.keys.due(self.keys.partition(sid)), sid)
        return score

    async def leased(self, user_id: str) -> bool:
        """Whether a worker holds the shopper."""
        sid = shopper_sid(user_id)
        return bool(await self.redis.hexists(self.keys.leases(self.keys.partition(sid)), sid))

    async def idle(self) -> bool:
        """Whether nobody is due or leased."""
        return (await self.queue.look()).shoppers == 0

    async def now_ms(self) -> float:
        """Return the time of Redis."""
        seconds, microseconds = await self.redis.time()
        return float(seconds) * 1000 + float(microseconds) / 1000

    async def run_until(self, worker: DirectWorker, condition: Callable[[], Awaitable[object]]) -> None:
        """Run a worker's loop until `condition`, then stop it."""
        stop = asyncio.Event()
        running = asyncio.create_task(worker.run(stop))
        try:
            await eventually_async(condition)
        finally:
            stop.set()
            await running
