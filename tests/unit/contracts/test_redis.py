"""The Redis client: a malformed URL is refused without repeating it."""

import pytest
from pydantic import SecretStr

from service.contracts.errors import ConfigError
from service.contracts.redis import make_redis
from service.contracts.settings import RedisSettings


@pytest.mark.parametrize("url", ["hunter2", "http://:hunter2@cache", "redis://:hunter2@cache:port/0", ""])
def test_malformed_url(url: str) -> None:
    """The URL may hold a password, so the message does not hold the URL."""
    with pytest.raises(ConfigError, match=r"redis\.url") as caught:
        make_redis(RedisSettings(url=SecretStr(url)), 100)
    assert "hunter2" not in str(caught.value)


async def test_timeouts_are_milliseconds_and_nothing_is_retried() -> None:
    """What the client's own defaults would make seconds."""
    redis = make_redis(RedisSettings(connect_timeout_ms=40, max_connections=3), 30)
    kwargs = redis.connection_pool.connection_kwargs
    assert (kwargs["socket_timeout"], kwargs["socket_connect_timeout"]) == (0.03, 0.04)
    assert kwargs["retry"].get_retries() == 0
    assert redis.connection_pool.max_connections == 3
    await redis.aclose()
