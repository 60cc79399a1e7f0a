"""Dead letters: shoppers whose refresh failed too often, with the reason. They keep the list that they have."""

from dataclasses import dataclass

import orjson
from redis.asyncio import Redis

from service.contracts import lua
from service.contracts.keys import Keys
from workers.direct.queue import execute


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A shopper (`sid`) given up at `at_ms` (epoch ms), after so many tries in a row."""

    sid: str
    at_ms: int
    tries: int
    reason: str


class DeadLetters:
    """All dead letters of a namespace."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        """Look at every partition of `keys`."""
        self._redis = redis
        self._keys = keys

    async def all(self) -> list[DeadLetter]:
        """Return them, latest first.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        pipe = self._redis.pipeline(transaction=False)
        for partition in range(self._keys.partitions):
            pipe.hgetall(self._keys.dead(partition))
        letters = [
            DeadLetter(sid.decode(), *orjson.loads(value))
            for partition in await execute(pipe)
            for sid, value in partition.items()
        ]
        return sorted(letters, key=lambda letter: (-letter.at_ms, letter.sid))

    async def retry(self) -> int:
        """Make every dead letter due now, with its tries forgotten; return how many.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        pipe = self._redis.pipeline(transaction=False)
        for partition in range(self._keys.partitions):
            pipe.eval(lua.REVIVE, 3, self._keys.due(partition), self._keys.tries(partition), self._keys.dead(partition))
        return sum(await execute(pipe))
