"""Redis for the hot path: one connection, commands written as they come, replies matched in their order.

redis-py lends a connection to each command and takes it back; under load that is most of what a read costs (figures in
docs/performance.md), and a request that is given up costs its connection. Here a command is a write and a future; one
that nobody waits for any more keeps its place in the order, so replies never cross over to another's.
https://redis.io/docs/latest/develop/using-commands/pipelining/
"""

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, cast

import hiredis
from redis.asyncio.connection import parse_url

from service.contracts.errors import StoreUnavailable
from service.contracts.redis import malformed
from service.contracts.settings import RedisSettings

Command = tuple[str | bytes | int | float, ...]
_NOTHING: Final = object()
_pack: Callable[[Command], bytes] = hiredis.pack_command  # type: ignore[assignment]  # its stub knows tuples of one


class Redirected(StoreUnavailable):
    """Another node of the cluster has the key: for good, or (`asks`) only for this command, while the slot moves.

    https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#redirection-and-resharding
    """

    def __init__(self, asks: bool, address: str) -> None:  # noqa: FBT001  (a field of the answer)
        """Tell the node's `address` as Redis did, host:port."""
        super().__init__(f"Redis says that {address} has it")
        host, _, port = address.rpartition(":")
        self.asks, self.address = asks, (host, int(port))


class PipelinedRedis:
    """Connects on first use, and again after a loss; every command is bounded by a timeout."""

    def __init__(self, settings: RedisSettings, timeout_ms: int, address: tuple[str, int] | None = None) -> None:
        """Read from the server that `settings` names, or else `address`; no command takes longer than `timeout_ms`.

        Raises:
            ConfigError: the URL is malformed.
        """
        try:
            self._options: dict[str, Any] = dict(parse_url(settings.url.get_secret_value()))
        except (ValueError, TypeError) as error:
            raise malformed(error) from None
        if address is not None:
            self._options["host"], self._options["port"] = address
        self._timeout_s = timeout_ms / 1000
        self._connect_s = settings.connect_timeout_ms / 1000
        self._link: _Link | None = None
        self._connecting: asyncio.Task[_Link] | None = None

    @property
    def host(self) -> str:
        """The server's name or address."""
        return str(self._options.get("host", "localhost"))

    @property
    def waiting(self) -> int:
        """How many replies are outstanding."""
        return 0 if self._link is None else len(self._link.waiting)

    async def execute(self, *command: str | bytes | float, timeout_s: float | None = None) -> Any:
        """Return the reply to a command, within `timeout_s` or the timeout of all, whichever is shorter.

        Raises:
            StoreUnavailable: no connection, no reply in time, or an error reply.
        """
        return await self._answer([command], timeout_s)

    async def execute_asking(self, *command: str | bytes | float, timeout_s: float | None = None) -> Any:
        """As `execute`, for a key of which another node said that it is on its way here."""
        return await self._answer([("ASKING",), command], timeout_s)

    async def execute_all(self, commands: Iterable[Command]) -> None:
        """Await all commands, whose replies do not matter.

        Raises:
            StoreUnavailable: as `execute`; some of them may have been carried out.
        """
        if batch := list(commands):
            await self._answer(batch, None)

    async def aclose(self) -> None:
        """Hang up."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait({self._connecting})
        if self._link is not None:
            self._link.drop("closed")
            await self._link.gone.wait()

    async def _answer(self, commands: list[Command], timeout_s: float | None) -> Any:
        link = self._link
        limit_s = self._timeout_s if timeout_s is None else min(timeout_s, self._timeout_s)
        try:
            if link is None or link.lost:  # connecting has its own timeout; the caller's bounds both
                started = time.monotonic()
                async with asyncio.timeout(timeout_s):
                    link = await self._connected()
                if timeout_s is not None:
                    limit_s = min(limit_s, timeout_s - (time.monotonic() - started))
            future = link.send(commands)
            timer = asyncio.get_running_loop().call_later(limit_s, _expire, future)  # a tenth of asyncio.timeout
            try:
                return await future
            finally:
                timer.cancel()
        except TimeoutError:
            if link is not None:
                link.drop_if_silent(self._timeout_s)
            raise StoreUnavailable(f"Redis did not answer within {limit_s * 1000:.0f} ms") from None

    async def _connected(self) -> "_Link":
        """Return the connection, made by whoever came first. Who gives up waiting does not stop the others."""
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.create_task(self._connect())
            # Nobody may be left to hear of a failure.
            self._connecting.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(self._connecting)

    async def _connect(self) -> "_Link":
        loop, options = asyncio.get_running_loop(), self._options
        link = None
        try:
            async with asyncio.timeout(self._connect_s):
                if "path" in options:
                    _, link = await loop.create_unix_connection(_Link, options["path"])
                else:
                    kind = options.get("connection_class")
                    context = ssl.create_default_context(cafile=options.get("ssl_ca_certs")) if kind else None
                    host, port = options.get("host", "localhost"), options.get("port", 6379)
                    _, link = await loop.create_connection(_Link, host, port, ssl=context)
                if password := options.get("password"):
                    await link.send([("AUTH", options.get("username") or "default", password)])
                if db := options.get("db"):
                    await link.send([("SELECT", db)])
        except BaseException as error:
            if link is not None:
                link.drop("it could not be set up")
            if not isinstance(error, OSError | TimeoutError):
                raise
            raise StoreUnavailable(f"Redis cannot be reached: {error or type(error).__name__}") from None
        self._link = link
        return link


def _expire(future: asyncio.Future[Any]) -> None:
    if not future.done():
        future.set_exception(TimeoutError())


class _Batch:
    """Replies that are awaited together; the last one is what a single command's caller gets."""

    __slots__ = ("error", "future", "left")

    def __init__(self, size: int, future: asyncio.Future[Any]) -> None:
        self.left, self.future = size, future
        self.error: Exception | None = None

    def take(self, reply: Any) -> None:
        """Take the next reply."""
        self.left -= 1
        if isinstance(reply, hiredis.ReplyError):
            kind, _, address = str(reply).split(" ", 2) if str(reply).startswith(("MOVED ", "ASK ")) else ("", "", "")
            self.error = Redirected(kind == "ASK", address) if kind else StoreUnavailable(f"Redis refuses: {reply}")
        if self.left == 0 and not self.future.done():
            if self.error is not None:
                self.future.set_exception(self.error)
            else:
                self.future.set_result(reply)

    def fail(self, reason: str) -> None:
        """No more replies will come."""
        if not self.future.done():
            self.future.set_exception(StoreUnavailable(reason))


class _Link(asyncio.Protocol):
    """One connection. `waiting` has a place for each outstanding reply, whoever still wants it."""

    def __init__(self) -> None:
        self.waiting: deque[_Batch] = deque()
        self.lost = False
        self.gone = asyncio.Event()
        """Whether the socket is closed."""
        self._unwritten: list[bytes] = []
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        self._transport: asyncio.Transport
        self._heard_at = 0.0

    def send(self, commands: list[Command]) -> asyncio.Future[Any]:
        """Write commands; return the future of the last reply, or of an error reply among them.

        What several requests ask in one turn of the event loop is one write: a write costs more than a command.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        if self.lost:
            future.set_exception(StoreUnavailable("the connection to Redis is lost"))
            return future
        batch = _Batch(len(commands), future)
        if not self.waiting:
            self._heard_at = time.monotonic()
        self.waiting.extend([batch] * len(commands))
        if not self._unwritten:
            loop.call_soon(self._write)
        self._unwritten += map(_pack, commands)
        return future

    def _write(self) -> None:
        if not self.lost:
            self._transport.write(b"".join(self._unwritten))
        self._unwritten.clear()

    def drop_if_silent(self, patience_s: float) -> None:
        """Hang up if Redis has owed a reply for so long: the connection may be dead."""
        if self.waiting and time.monotonic() - self._heard_at >= patience_s:
            self.drop("Redis stopped to answer")

    def drop(self, reason: str) -> None:
        """Hang up; who waits is told why."""
        if not self.lost:
            self.lost = True
            self._transport.abort()
            for batch in self.waiting:
                batch.fail(reason)
            self.waiting.clear()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class

    def data_received(self, data: bytes) -> None:
        """Hand replies out, in order."""
        self._heard_at = time.monotonic()
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not _NOTHING:
                self.waiting.popleft().take(reply)
        except (hiredis.ProtocolError, IndexError) as error:
            self.drop(f"Redis's answer is not its protocol: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self.drop(f"the connection to Redis is lost: {exc or 'closed'}")
        self.gone.set()
