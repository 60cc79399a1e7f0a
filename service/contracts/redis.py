"""The one place where a Redis client is made, of one server or of a cluster.

redis-py's defaults suit batch work, not serving: seconds of timeout and many retries. Here: millisecond timeouts, no
retries, a bounded blocking pool. https://redis.readthedocs.io/en/stable/connections.html
"""

import time
from collections.abc import Callable
from typing import Any, cast

from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.asyncio.cluster import ClusterPipeline
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ClusterDownError, MaxConnectionsError, RedisClusterException, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
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


class _Cluster(RedisCluster):
    """Its errors are `RedisError`s; after one, the next command looks for the masters again, and nothing is retried."""

    __slots__ = ()

    async def initialize(self, *args: Any, **options: Any) -> RedisCluster:
        """See the base class."""
        try:
            return await super().initialize(*args, **options)
        except RedisClusterException as error:  # by the library's tree it is no RedisError
            raise RedisConnectionError(str(error)) from error

    async def _determine_slot(self, command: str, *args: Any) -> int:
        """See the base class, which would ask Redis each time where this command has its key."""
        if command == "XREADGROUP":
            return self.keyslot(args[args.index(b"STREAMS") + 1])
        return await super()._determine_slot(command, *args)

    def pipeline(self, transaction: Any = None, shard_hint: Any = None) -> ClusterPipeline:
        """See the base class; what has to be atomic is a script."""
        if transaction or shard_hint:
            raise NotImplementedError
        return _Pipeline(self)  # type: ignore[abstract]  # an annotation of the library's, no method

    def look_again(self) -> None:
        """Ask for the masters before the next command."""
        self._initialize = True


class _Pipeline(ClusterPipeline):
    def __init__(self, cluster: _Cluster) -> None:
        super().__init__(cluster, transaction=False)
        self._cluster = cluster

    async def execute(self, *args: Any, **options: Any) -> list[Any]:
        """See the base class, which after an error would keep to masters that are gone."""
        try:
            return await super().execute(*args, **options)
        except (RedisConnectionError, RedisTimeoutError, ClusterDownError) as error:
            if not isinstance(error, MaxConnectionsError):
                self._cluster.look_again()
            raise


def make_redis(settings: RedisSettings, timeout_ms: int, waited: Callable[[float], object] | None = None) -> Redis:
    """Return a client whose every socket operation takes at most `timeout_ms`; it connects on first use.

    `waited`, if any, is told how long (s) each command, or pipeline, waited for a connection. A cluster's client has
    no transactions (use a script), and does not wait: past `max_connections` to a node, a command fails at once.

    Raises:
        ConfigError: the URL is malformed (its value is not repeated: it may hold a password), or not one of a cluster.
    """
    url = settings.url.get_secret_value()
    options: dict[str, Any] = {
        "max_connections": settings.max_connections,
        "socket_timeout": timeout_ms / 1000,
        "socket_connect_timeout": settings.connect_timeout_ms / 1000,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 3,
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }
    try:
        if settings.cluster:
            return cast("Redis", _Cluster.from_url(url, **options))
        options |= {"timeout": timeout_ms / 1000} | ({} if waited is None else {"waited": waited})
        pool = (BlockingConnectionPool if waited is None else _TimedPool).from_url(url, **options)
    except (ValueError, TypeError) as error:
        raise malformed(error) from None
    except RedisClusterException:
        raise ConfigError("redis.url: a cluster has no database but 0, and is not reached by unix://") from None
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
