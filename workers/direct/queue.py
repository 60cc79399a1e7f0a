"""The due queue as a worker sees it: claim shoppers, read them, complete or give back; each step atomic in Redis."""

import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import RedisError, ResponseError

from service.contracts import lua
from service.contracts.codecs import BehaviourEntry, QueryList, decode_behaviour, decode_list, decode_profile
from service.contracts.errors import CorruptValue, StoreUnavailable
from service.contracts.keys import Keys
from service.contracts.settings import Settings

_WRONG_TYPE: Final = "WRONGTYPE"


@dataclass(frozen=True, slots=True)
class Lease:
    """A shopper held by this worker until completed, given back, or expired.

    `late_ms` is how long past due it was claimed, `tries` how many tries in a row failed before; `ahead` says that it
    went ahead of the others: just bought, or has no list or an old one while it is here.
    """

    sid: str
    token: str
    late_ms: int
    tries: int = 0
    ahead: bool = False


@dataclass(frozen=True, slots=True)
class DueShopper:
    """A leased shopper as read after the claim; `behaviour` is newest first and at least as new as `seq`.

    `stored` is the list that Redis holds, if it is readable.
    """

    lease: Lease
    seq: int
    behaviour: list[BehaviourEntry]
    profile: dict[str, str]
    stored: QueryList | None

    def active(self, since: float) -> bool:
        """Whether anything is known of the shopper, and the latest action, if any, came after `since` (epoch s)."""
        return self.seq > 0 and (not self.behaviour or max(entry.ts for entry in self.behaviour) > since)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A leased shopper of whom a key holds another type; `reason` names it."""

    lease: Lease
    reason: str


@dataclass(frozen=True, slots=True)
class Backlog:
    """How many shoppers wait, are due or leased; how long past due the longest waiting is; how many stand back."""

    shoppers: int
    oldest_late_s: float
    deferred: int


@dataclass(frozen=True, slots=True)
class Refresh:
    """What to write for a leased shopper."""

    shopper: DueShopper
    value: bytes


class DueQueue:
    """Any number of workers share it without talking to each other."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        """Work on all partitions of `settings.redis`."""
        self._redis = redis
        self._keys = Keys(settings.redis.namespace, settings.redis.partitions)
        self._settings = settings
        every = range(settings.redis.partitions)
        # A script's keys have to be of one slot on a cluster, so of one partition.
        self._groups = [[one] for one in every] if settings.redis.cluster else [every]

    async def claim(self, limit: int) -> list[Lease]:
        """Lease up to `limit` due shoppers: those ahead, the latest first, then those who have waited longest.

        Each partition gives an equal share; where shoppers are left, a further round takes them.

        Raises:
            StoreUnavailable: Redis does not answer; what was claimed unseen is due again when its lease expires.
        """
        waiting = await self._oldest()
        token = uuid.uuid4().hex
        queue = self._settings.queue
        lease_ms, ttl_s = round(queue.lease_s * 1000), round(self._settings.behaviour.ttl_s)
        leases: list[Lease] = []
        while waiting and len(leases) < limit:
            open_ = limit - len(leases)
            share = max(1, open_ // len(waiting))
            chosen, waiting = waiting[:open_], waiting[open_:]
            pipe = self._redis.pipeline(transaction=False)
            for partition in chosen:
                names = [
                    key(partition) for key in (self._keys.due, self._keys.leases, self._keys.tries, self._keys.dead)
                ]
                pipe.eval(lua.CLAIM, len(names), *names, token, lease_ms, share, queue.max_tries, ttl_s)
            for partition, flat in zip(chosen, await execute(pipe), strict=True):
                found = list(zip(flat[::4], flat[1::4], flat[2::4], flat[3::4], strict=True))
                leases.extend(Lease(sid.decode(), token, late, tries, ahead == 1) for sid, late, tries, ahead in found)
                if len(found) == share:
                    waiting.append(partition)
        return leases

    async def _oldest(self) -> list[int]:
        """Return the partitions with someone due, in the order of whom they would give first."""
        pipe = self._redis.pipeline(transaction=False)
        for group in self._groups:
            pipe.eval(lua.DUE, len(group), *map(self._keys.due, group))
        due = [
            (float(score), group[number])
            for group, flat in zip(self._groups, await execute(pipe), strict=True)
            for number, score in zip(flat[::2], flat[1::2], strict=True)
        ]
        return [partition for _, partition in sorted(due)]

    async def read(self, leases: Sequence[Lease]) -> tuple[list[DueShopper], list[Unreadable]]:
        """Read what the prompt needs. `seq` is read first, so behaviour is never older than it.

        Who cannot be read is apart: someone wrote into our namespace, which is not to fail the others.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        pipe = self._redis.pipeline(transaction=False)
        for lease in leases:
            pipe.hget(self._keys.state(lease.sid), "seq")
            pipe.lrange(self._keys.behaviour(lease.sid), 0, self._settings.behaviour.max_events - 1)
            pipe.get(self._keys.profile(lease.sid))
            pipe.get(self._keys.u2q(lease.sid))
        flat = await execute(pipe, forgive=_WRONG_TYPE)
        shoppers, unreadable = [], []
        for at, lease in enumerate(leases):
            values = flat[4 * at : 4 * at + 4]
            keys = self._keys.state, self._keys.behaviour, self._keys.profile, self._keys.u2q
            wrong = [f"{key(lease.sid)}: {value}" for key, value in zip(keys, values, strict=True) if _is_error(value)]
            if wrong:
                unreadable.append(Unreadable(lease, "; ".join(wrong)))
                continue
            seq, raws, raw_profile, raw_list = values
            behaviour, _ = decode_behaviour(lease.sid, raws)
            profile, stored = _profile(lease.sid, raw_profile), _stored(lease.sid, raw_list)
            shoppers.append(DueShopper(lease, int(seq or 0), behaviour, profile, stored))
        return shoppers, unreadable

    async def complete(self, refreshes: Sequence[Refresh]) -> list[str]:
        """Write the lists by compare-and-set and end the leases; return an outcome each (see `complete.lua`).

        Raises:
            StoreUnavailable: Redis does not answer; the shoppers are due again when their leases expire.
        """
        queue = self._settings.queue
        pipe = self._redis.pipeline(transaction=False)
        for refresh in refreshes:
            lease = refresh.shopper.lease
            partition = self._keys.partition(lease.sid)
            ttl_ms = round(self._settings.direct.u2q_ttl_s * 1000 * random.uniform(0.9, 1.1))  # noqa: S311  (jitter)
            pipe.eval(
                lua.COMPLETE, 6,
                self._keys.due(partition), self._keys.leases(partition),
                self._keys.state(lease.sid), self._keys.u2q(lease.sid),
                self._keys.tries(partition), self._keys.dead(partition),
                lease.sid, lease.token, refresh.shopper.seq, refresh.value, ttl_ms,
                round(queue.delay_s * 1000), round(queue.max_wait_s * 1000), round(queue.cooldown_s * 1000),
            )  # fmt: skip
        return [outcome.decode() for outcome in await execute(pipe)]

    async def release(self, leases: Sequence[Lease], delay_s: float) -> None:
        """Give leases back, through no fault of the shoppers; they are due again after `delay_s`.

        Raises:
            StoreUnavailable: Redis does not answer; the leases then expire by themselves.
        """
        pipe = self._redis.pipeline(transaction=False)
        for lease in leases:
            self._release(pipe, lease, delay_s, "", "")
        await execute(pipe)

    async def fail(self, failures: Sequence[tuple[Lease, int | None, str]]) -> list[str]:
        """Give shoppers back that could not be refreshed; return an outcome each (`release.lua`).

        A failure is a lease, the `seq` that was read, if it was, and the reason.

        The pause before the next try doubles from `queue.retry_s`; `queue.max_tries` in a row make a dead letter.

        Raises:
            StoreUnavailable: Redis does not answer; the leases then expire by themselves.
        """
        pipe = self._redis.pipeline(transaction=False)
        for lease, seq, reason in failures:
            self._release(pipe, lease, self._settings.queue.retry_s, reason, "" if seq is None else seq)
        return [outcome.decode() for outcome in await execute(pipe)]

    def _release(self, pipe: Pipeline, lease: Lease, delay_s: float, reason: str, seq: int | str) -> None:
        partition = self._keys.partition(lease.sid)
        pipe.eval(
            lua.RELEASE, 5,
            self._keys.due(partition), self._keys.leases(partition), self._keys.state(lease.sid),
            self._keys.tries(partition), self._keys.dead(partition),
            lease.sid, lease.token, round(delay_s * 1000), reason, seq,
            self._settings.queue.max_tries, round(self._settings.behaviour.ttl_s),
        )  # fmt: skip

    async def let_go(self, shoppers: Sequence[DueShopper]) -> list[str]:
        """End leases without a list; return an outcome each (see `let_go.lua`).

        Raises:
            StoreUnavailable: Redis does not answer; the leases then expire by themselves.
        """
        pipe = self._redis.pipeline(transaction=False)
        for one in shoppers:
            sid, partition = one.lease.sid, self._keys.partition(one.lease.sid)
            names = self._keys.due(partition), self._keys.leases(partition), self._keys.state(sid)
            pipe.eval(lua.LET_GO, 4, *names, self._keys.tries(partition), sid, one.lease.token, one.seq)
        return [outcome.decode() for outcome in await execute(pipe)]

    async def look(self) -> Backlog:
        """Return what waits.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        shed_ms = round(self._settings.queue.shed_after_s * 1000)
        pipe = self._redis.pipeline(transaction=False)
        for partition in range(self._keys.partitions):
            pipe.eval(lua.LOOK, 1, self._keys.due(partition), shed_ms)
        shoppers, late_ms, deferred = zip(*await execute(pipe), strict=True)
        return Backlog(sum(shoppers), max(late_ms) / 1000, sum(deferred))


async def execute(pipe: Pipeline, forgive: str | None = None) -> list[Any]:
    """Return the replies to a pipeline; an error that begins with `forgive` is a reply.

    Raises:
        StoreUnavailable: Redis does not answer.
    """
    try:
        results: list[Any] = await pipe.execute(raise_on_error=forgive is None)
    except (RedisError, OSError) as error:
        raise StoreUnavailable(f"Redis does not answer: {error}") from error
    for reply in filter(_is_error, results):
        if not (forgive and isinstance(reply, ResponseError) and str(reply).startswith(forgive)):
            raise StoreUnavailable(f"Redis does not answer: {reply}") from reply
    return results


def _is_error(reply: object) -> bool:
    return isinstance(reply, Exception)


def _profile(sid: str, raw: bytes | None) -> dict[str, str]:
    if raw is None:
        return {}
    try:
        return dict(decode_profile(sid, raw).fields)
    except CorruptValue:
        return {}


def _stored(sid: str, raw: bytes | None) -> QueryList | None:
    if raw is None:
        return None
    try:
        return decode_list(sid, raw)
    except CorruptValue:
        return None
