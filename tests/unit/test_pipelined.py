"""One connection for many commands: replies keep their order whoever gives up, and a dead connection is replaced."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from pydantic import SecretStr

from service.contracts.errors import ConfigError, StoreUnavailable
from service.contracts.settings import RedisSettings
from service.pipelined import PipelinedRedis

Reply = Callable[[bytes], Awaitable[bytes | None]]
"""From a command's last argument to what is sent back; None hangs up."""


async def echo(argument: bytes) -> bytes:
    """Answer with the argument."""
    return b"$%d\r\n%s\r\n" % (len(argument), argument)


@asynccontextmanager
async def serving(reply: Reply, timeout_ms: int = 500) -> AsyncIterator[tuple[PipelinedRedis, list[int]]]:
    """Run a server that speaks enough of RESP; yield a client of it, and the number of connections so far."""
    connections, gone = [0], []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections[0] += 1
        gone.append(ended := asyncio.Event())
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                argument = b""
                for _ in range(int((await reader.readuntil(b"\r\n"))[1:])):
                    size = int((await reader.readuntil(b"\r\n"))[1:])
                    argument = (await reader.readexactly(size + 2))[:-2]
                if (answer := await reply(argument)) is None:
                    break
                writer.write(answer)
        writer.close()
        ended.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = PipelinedRedis(RedisSettings(url=SecretStr(f"redis://127.0.0.1:{port}/0")), timeout_ms)
    try:
        yield client, connections
    finally:
        await client.aclose()
        server.close()
        for ended in gone:
            await ended.wait()


async def test_many_commands_share_a_connection() -> None:
    """Each gets its own reply."""
    async with serving(echo) as (redis, connections):
        found = await asyncio.gather(*(redis.execute("ECHO", f"n{number}") for number in range(200)))
        assert found == [f"n{number}".encode() for number in range(200)]
        assert connections == [1]
        assert redis.waiting == 0


async def test_what_is_asked_in_one_turn_of_the_loop_is_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """A write is a system call, which costs more than a command."""
    async with serving(echo) as (redis, _):
        await redis.execute("ECHO", "connected")
        assert redis._link is not None
        transport, writes = redis._link._transport, []
        monkeypatch.setattr(transport, "write", lambda data, write=transport.write: writes.append(write(data)))
        found = await asyncio.gather(*(redis.execute("ECHO", f"n{number}") for number in range(20)))
        assert found == [f"n{number}".encode() for number in range(20)]
        assert len(writes) == 1


async def test_who_gives_up_leaves_the_order_alone() -> None:
    """The reply that comes later is nobody's, and the next one is the next one's."""
    held = asyncio.Event()

    async def slowly(argument: bytes) -> bytes:
        if argument == b"first":
            await held.wait()
        return await echo(argument)

    async with serving(slowly) as (redis, connections):
        await redis.execute("ECHO", "hello")
        first = asyncio.create_task(redis.execute("ECHO", "first"))
        await asyncio.sleep(0)
        assert redis.waiting == 1
        second = asyncio.create_task(redis.execute("ECHO", "second"))
        await asyncio.sleep(0)
        first.cancel()
        held.set()
        assert await second == b"second"
        assert (await asyncio.gather(first, return_exceptions=True))[0].__class__ is asyncio.CancelledError
        assert connections == [1]


async def test_a_caller_with_less_time_costs_nobody_the_connection() -> None:
    """Only a Redis that owes a reply for the whole timeout is taken for dead."""
    held = asyncio.Event()

    async def slowly(argument: bytes) -> bytes:
        await held.wait()
        return await echo(argument)

    async with serving(slowly) as (redis, connections):
        await asyncio.gather(redis.execute("ECHO", "x", timeout_s=0.02), return_exceptions=True)
        with pytest.raises(StoreUnavailable, match="within 20 ms"):
            await redis.execute("ECHO", "hasty", timeout_s=0.02)
        held.set()
        assert await redis.execute("ECHO", "patient") == b"patient"
        assert connections == [1]


async def test_a_silent_connection_is_replaced() -> None:
    """Everybody who waits on it is told."""
    silent = [True]

    async def reply(argument: bytes) -> bytes:
        if silent[0]:
            await asyncio.sleep(0.3)
        return await echo(argument)

    async with serving(reply, timeout_ms=50) as (redis, connections):
        found = await asyncio.gather(*(redis.execute("ECHO", "x") for _ in range(5)), return_exceptions=True)
        assert all(isinstance(error, StoreUnavailable) for error in found)
        silent[0] = False
        assert await redis.execute("ECHO", "again") == b"again"
        assert connections == [2]


@pytest.mark.parametrize("answer", [None, b"+OK\r\n+more\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
async def test_nonsense_ends_the_connection_not_the_process(answer: bytes | None) -> None:
    """Hanging up, a reply too many, another protocol: an error, then a new connection."""
    answers = [answer]

    async def reply(argument: bytes) -> bytes | None:
        return answers.pop() if answers else await echo(argument)

    async with serving(reply) as (redis, _):
        with contextlib.suppress(StoreUnavailable):
            await redis.execute("ECHO", "x")
        await asyncio.sleep(0)
        found = await asyncio.gather(redis.execute("ECHO", "y"), return_exceptions=True)
        assert found == [b"y"] or await redis.execute("ECHO", "y") == b"y"


async def test_an_error_reply_is_told() -> None:
    """Of a single command, and of one among many whose replies do not matter."""

    async def reply(argument: bytes) -> bytes:
        return b"-OOM no memory\r\n" if argument == b"big" else b"+OK\r\n"

    async with serving(reply) as (redis, _):
        with pytest.raises(StoreUnavailable, match="OOM no memory"):
            await redis.execute("SET", "a", "big")
        with pytest.raises(StoreUnavailable, match="OOM no memory"):
            await redis.execute_all([("SET", "a", "b"), ("SET", "a", "big"), ("SET", "a", "c")])
        await redis.execute_all([])
        await redis.execute_all([("SET", "a", "b")] * 100)
        assert redis.waiting == 0


async def test_nobody_there() -> None:
    """A refused connection, and a URL that is none."""
    redis = PipelinedRedis(RedisSettings(url=SecretStr("redis://127.0.0.1:1/0")), 500)
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        await redis.execute("GET", "x")
    await redis.aclose()
    with pytest.raises(ConfigError, match="URL"):
        PipelinedRedis(RedisSettings(url=SecretStr("http://secret@x")), 500)


async def test_connecting_does_not_count_as_a_slow_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has its own timeout; a caller with a deadline is told in time. Closing meanwhile leaves nothing."""
    loop = asyncio.get_running_loop()
    connect = loop.create_connection

    async def slowly(*args: object, **options: object) -> object:
        await asyncio.sleep(0.06)
        return await connect(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "create_connection", slowly)
    async with serving(echo, timeout_ms=40) as (redis, connections):
        with pytest.raises(StoreUnavailable):
            await redis.execute("ECHO", "hasty", timeout_s=0.02)
        assert await redis.execute("ECHO", "patient") == b"patient"
        assert connections == [1]
    async with serving(echo) as (redis, connections):
        with pytest.raises(StoreUnavailable):
            await redis.execute("ECHO", "hasty", timeout_s=0.01)
        await redis.aclose()
        assert connections == [0]
