"""The one place where a Redis client is made.

redis-py's defaults suit batch work, not serving: seconds of timeout and many retries. Here: millisecond timeouts, no
retries, a bounded blocking pool. https://redis.readthedocs.io/en/stable/connections.html
"""

import time
from collections.abc import Callable
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.maint_notifications import MaintNotificationsConfig

from service.contracts.errors import ConfigError, StoreUnavailable
from service.contracts.keys import Keys
from service.contracts.settings import RedisSettings


class _TimedPool(BlockingConnectionPool):
    """Tells how long each command waited for its connection."""

    def __init__(self, waited: Callable[[float], object] = lambda _: None, **options: Any) -> None:
        super().__init__(**options)
        self._waited = waited

    async def get_connection(self, *_: Any, **__: Any) -> Any:  # its arguments are deprecated
        """See the base class."""
        started = time.perf_counter()
        try:
            return await super().get_connection()  # type: ignore[no-untyped-call]
        finally:
            self._waited(time.perf_counter() - started)


def make_redis(settings: RedisSettings, timeout_ms: int, waited: Callable[[float], object] | None = None) -> Redis:
    """Return a client whose every socket operation takes at most `timeout_ms`; it connects on first use.

    `waited`, if any, is told how long (s) each command, or pipeline, waited for a connection.

    Raises:
        ConfigError: the URL is malformed (its value is not repeated: it may hold a password).
    """
    try:
        pool = (BlockingConnectionPool if waited is None else _TimedPool).from_url(
            settings.url.get_secret_value(),
            max_connections=settings.max_connections,
            timeout=timeout_ms / 1000,
            socket_timeout=timeout_ms / 1000,
            socket_connect_timeout=settings.connect_timeout_ms / 1000,
            retry=Retry(NoBackoff(), 0),
            protocol=3,
            maint_notifications_config=MaintNotificationsConfig(enabled=False),
            **({} if waited is None else {"waited": waited}),
        )
    except (ValueError, TypeError) as error:
        raise malformed(error) from None
    return Redis.from_pool(pool)  # owns the pool: closing the client closes its connections


def malformed(error: Exception) -> ConfigError:
    """Return what to say of a URL that is none; its value is not repeated, it may hold a password."""
    return ConfigError(f"redis.url is not a redis://, rediss:// or unix:// URL ({type(error).__name__})")


async def check_partitions(redis: Redis, keys: Keys) -> None:
    """Write P on first use; afterwards insist on it, since another P would look for shoppers in the wrong place.

    Raises:
        ConfigError: Redis holds another P.
        StoreUnavailable: Redis did not answer.
    """
    name = keys.partition_count()
    try:
        await redis.set(name, keys.partitions, nx=True)
        stored = int(await redis.get(name) or keys.partitions)
    except (RedisError, OSError) as error:
        raise StoreUnavailable(f"Redis does not answer: {error}") from error
    if stored != keys.partitions:
        raise ConfigError(
            f"redis.partitions is {keys.partitions}, but this Redis was filled with {stored} (key {name}): "
            f"set redis.partitions = {stored}, or use another redis.namespace"
        )
