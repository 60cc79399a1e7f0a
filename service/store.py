"""Writes about shoppers: events and profiles. Acknowledged only once Redis has them."""

from collections.abc import Mapping, Sequence

import orjson
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import RedisError

from service.contracts import lua
from service.contracts.codecs import Profile, encode_behaviour, encode_profile, encode_seen
from service.contracts.errors import StoreUnavailable
from service.contracts.events import HintEvent, ItemEvent, SearchEvent, log_line
from service.contracts.keys import Keys, shopper_sid
from service.contracts.settings import Settings

AnyEvent = SearchEvent | ItemEvent | HintEvent


class ShopperStore:
    """Records what happens to shoppers, one atomic script a shopper."""

    def __init__(self, redis: Redis, keys: Keys, settings: Settings) -> None:
        """Write through `redis` with the TTLs and delays of `settings`."""
        self._redis = redis
        self._keys = keys
        self._settings = settings
        self._refusal: str | None = None

    def refuse(self, reason: str | None) -> None:
        """Take nothing more, for `reason`; None takes again."""
        self._refusal = reason

    async def record(self, events: Sequence[AnyEvent]) -> None:
        """Store events, in order, in one round trip; all of a shopper's or none.

        Raises:
            StoreUnavailable: Redis did not confirm. Sending them again is safe: logs drop a known `event_id`.
        """
        by_shopper: dict[str, list[AnyEvent]] = {}
        for event in events:
            by_shopper.setdefault(event.user_id, []).append(event)
        pipe = self._redis.pipeline(transaction=False)
        for user_id, group in by_shopper.items():
            self._queue(pipe, user_id, group, profile=None)
        await self._execute(pipe)

    async def put_profile(self, user_id: str, profile: Profile) -> None:
        """Store a profile and mark the shopper due; without consent, forget the behaviour and the list instead.

        Raises:
            StoreUnavailable: Redis did not confirm.
        """
        pipe = self._redis.pipeline(transaction=False)
        self._queue(pipe, user_id, [], profile)
        await self._execute(pipe)

    async def forget(self, user_id: str) -> None:
        """Erase all that Redis holds of a shopper, but for log lines not yet drained.

        Raises:
            StoreUnavailable: Redis did not confirm.
        """
        sid = shopper_sid(user_id)
        partition = self._keys.partition(sid)
        keys = self._keys
        names = [
            *(key(partition) for key in (keys.due, keys.leases, keys.tries, keys.dead)),
            *(key(sid) for key in (keys.behaviour, keys.state, keys.profile, keys.u2q, keys.seen)),
        ]
        pipe = self._redis.pipeline(transaction=False)
        pipe.eval(lua.FORGET, len(names), *names, sid)
        await self._execute(pipe)

    def _queue(self, pipe: Pipeline, user_id: str, events: Sequence[AnyEvent], profile: Profile | None) -> None:
        keys, queue, behaviour = self._keys, self._settings.queue, self._settings.behaviour
        sid = shopper_sid(user_id)
        partition = keys.partition(sid)
        entries = [encode_behaviour(sid, entry) for event in events if (entry := event.behaviour()) is not None]
        hints = [
            (b"+" if event.type == "hint_exposure" else b"-") + encode_seen(sid, event.query)
            for event in events
            if isinstance(event, HintEvent)
        ]
        names = [
            keys.behaviour(sid), keys.state(sid), keys.due(partition), keys.leases(partition),
            keys.events(partition), keys.profile(sid), keys.u2q(sid), keys.tries(partition), keys.dead(partition),
            keys.seen(sid),
        ]  # fmt: skip
        pipe.eval(
            lua.RECORD, len(names), *names,
            sid, round(queue.delay_s * 1000), round(queue.max_wait_s * 1000), round(queue.priority_delay_s * 1000),
            "1" if any(event.type == "purchase" for event in events) else "first",
            behaviour.max_events, round(behaviour.ttl_s), self._settings.redis.stream_maxlen,
            encode_profile(sid, profile) if profile is not None else "",
            ("1" if profile.consent else "0") if profile is not None else "",
            round(queue.cooldown_s * 1000), behaviour.max_exposures,
            round(queue.shed_after_s * 1000), len(hints), len(entries), *entries, *hints,
            *(orjson.dumps(log_line(event)) for event in events),
        )  # fmt: skip

    async def _execute(self, pipe: Pipeline) -> None:
        if self._refusal is not None:
            raise StoreUnavailable(self._refusal)
        try:
            await pipe.execute()
        except (RedisError, OSError) as error:
            raise StoreUnavailable(str(error)) from error


def profile_of(fields: Mapping[str, str], *, consent: bool) -> Profile:
    """Return the profile to store: without consent, no fields."""
    return Profile(consent, dict(fields) if consent else {})
