"""The service with one thing changed, to be measured beside itself: `python -m workers.bench.variant NAME`.

Changes are made from outside, before the app is imported, so that the service itself has no switch for them.
"""

import asyncio
import gc
import io
import sys
from collections.abc import Callable, Iterable
from functools import partial
from types import SimpleNamespace
from typing import Any, Final

import uvicorn
from prometheus_client import Counter, Gauge, Histogram
from redis._parsers.encoders import Encoder
from redis._parsers.resp2 import _RESP2Parser
from redis.connection import PythonRespSerializer
from redis.exceptions import InvalidResponse, RedisError, ResponseError

from service import clustered, pipelined
from service.contracts.errors import StoreUnavailable
from service.contracts.redis import make_redis
from service.contracts.settings import RedisSettings, load_settings
from service.pipelined import Command
from workers.serve import serve

APP: Final = "service.app:create_app_to_serve"


class PythonReader(_RESP2Parser):
    """redis-py's own parser, with the methods of hiredis' reader; of our own it only looks whether a reply is whole."""

    def __init__(self, notEnoughData: object) -> None:  # noqa: N803  (hiredis' name)
        """Return `notEnoughData` while a reply is not whole."""
        self._received = self._buffer = _Received()
        self._nothing = notEnoughData

    def __del__(self) -> None:
        """Nothing to hang up, unlike the base class."""

    def feed(self, data: bytes) -> None:
        """Take what came in."""
        self._received.feed(data)

    def gets(self) -> Any:
        """Return the next reply."""
        try:
            return self.read_response(disable_decoding=True)
        except EOFError:
            return self._nothing


class _Received:
    """What redis-py's parser reads from: a socket's buffer without a socket."""

    def __init__(self) -> None:
        self._bytes = io.BytesIO()

    def feed(self, data: bytes) -> None:
        at = self._bytes.tell()
        self._bytes.seek(0, io.SEEK_END)
        self._bytes.write(data)
        self._bytes.seek(at)

    def readline(self, **_: Any) -> bytes:
        line = self._bytes.readline()
        if not line.endswith(b"\r\n"):
            raise EOFError
        return line[:-2]

    def read(self, length: int, **_: Any) -> bytes:
        found = self._bytes.read(length + 2)
        if len(found) < length + 2:
            raise EOFError
        return found[:-2]

    def get_pos(self) -> int:
        return self._bytes.tell()

    def rewind(self, pos: int) -> None:
        self._bytes.seek(pos)

    def purge(self) -> None:
        self._bytes = io.BytesIO(self._bytes.read())


class Pool:
    """redis-py's pool of connections, with the methods of `PipelinedRedis`."""

    def __init__(self, settings: RedisSettings, timeout_ms: int) -> None:
        """See `PipelinedRedis`."""
        self._redis = make_redis(settings, timeout_ms)

    async def execute(self, *command: str | bytes | float, timeout_s: float | None = None) -> Any:
        """See `PipelinedRedis`."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._redis.execute_command(*command)  # type: ignore[no-untyped-call]
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreUnavailable(str(error)) from error

    async def execute_all(self, commands: Iterable[Command]) -> None:
        """See `PipelinedRedis`."""
        pipe = self._redis.pipeline(transaction=False)
        for command in commands:
            pipe.execute_command(*command)
        try:
            await pipe.execute()
        except (RedisError, OSError) as error:
            raise StoreUnavailable(str(error)) from error

    async def aclose(self) -> None:
        """Hang up."""
        await self._redis.aclose()


def _served_by_uvicorn(**options: Any) -> None:
    uvicorn.run = partial(uvicorn.run, **options)


def _parsed_by_python() -> None:
    encoder = Encoder("utf-8", "strict", decode_responses=False)  # type: ignore[no-untyped-call]
    packer: Any = PythonRespSerializer(sys.maxsize, encoder.encode)
    pipelined._pack = lambda command: b"".join(packer.pack(*command))  # noqa: SLF001  (what is measured)
    parser = {"Reader": PythonReader, "ReplyError": ResponseError, "ProtocolError": InvalidResponse}
    pipelined.hiredis = SimpleNamespace(**parser)  # type: ignore[assignment,attr-defined]


def _read_through_a_pool() -> None:
    clustered.open_pipelined = Pool  # type: ignore[assignment]


def _routed() -> None:
    from service.endpoints.hints import Shortcut  # noqa: PLC0415  (only this variant needs the app this early)

    async def passes_on(self: Any, scope: Any, receive: Any, send: Any) -> None:
        await self._app(scope, receive, send)

    Shortcut.__call__ = passes_on  # type: ignore[method-assign]


def _encoded_by_starlette() -> None:
    from fastapi import Response  # noqa: PLC0415  (only this variant needs the app this early)

    from service.endpoints import hints  # noqa: PLC0415

    def built(body: bytes, headers: Iterable[tuple[bytes, bytes]]) -> Response:
        return Response(body, headers={name.decode(): value.decode() for name, value in headers})

    hints._Prebuilt = built  # type: ignore[assignment,misc]  # noqa: SLF001  (what is measured)


def _nothing_frozen() -> None:
    gc.freeze = lambda: None


def _collected_rarely() -> None:
    gc.set_threshold(50_000, 20, 100)


def _nothing(*_: object) -> None:
    return


def _unmetered() -> None:
    Counter.inc = _nothing  # type: ignore[assignment, method-assign]
    Gauge.set = _nothing  # type: ignore[assignment, method-assign]
    Histogram.observe = _nothing  # type: ignore[assignment, method-assign]


CHANGES: Final[dict[str, Callable[[], None]]] = {
    "asyncio_loop": partial(_served_by_uvicorn, loop="asyncio"),
    "h11": partial(_served_by_uvicorn, http="h11"),
    "fewer_headers": partial(_served_by_uvicorn, server_header=False, date_header=False),
    "python_parser": _parsed_by_python,
    "redis_pool": _read_through_a_pool,
    "routed": _routed,
    "starlette_response": _encoded_by_starlette,
    "gc_not_frozen": _nothing_frozen,
    "gc_rare": _collected_rarely,
    "gc_off": gc.disable,
    "unmetered": _unmetered,
}
"""What is changed before `aigq serve` begins, by the variant's name."""


def _granian() -> None:
    """Serve with granian, its defaults and one worker."""
    from granian import Granian  # noqa: PLC0415  (optional)
    from granian.constants import Interfaces  # noqa: PLC0415

    settings = load_settings().service
    Granian(APP, address=settings.host, port=settings.port, interface=Interfaces.ASGI, factory=True).serve()


if __name__ == "__main__":
    if sys.argv[1] == "granian":
        _granian()
    else:
        CHANGES[sys.argv[1]]()
        serve(None)
