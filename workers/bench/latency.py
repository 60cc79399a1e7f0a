"""Latency at a constant rate: at 70% of saturation, for few and for many shoppers, and while Redis is in trouble."""

import asyncio
import contextlib
import os
import signal
import statistics
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from workers.bench.arena import Plan, Server, Store, arena, load
from workers.bench.common import Figures, machine, spread
from workers.bench.constant_rate import Answers
from workers.bench.open_loop import asked, at_rate
from workers.bench.stalls import Stalls
from workers.common.processes import aigq, free_port

_BUSY: Final = 0.7
_CALM: Final = 0.5
_FEW: Final = 1000
_LIMIT_MS: Final = 52.0
"""`service.budget_ms` and 2 ms."""
_SLOW_S: Final = 0.2
_CHUNK: Final = 65_536


def run(plan: Plan, requests: int, var: Path, tell: Callable[[str], None]) -> dict[str, Any]:
    """Return p50 and p99 (ms) from when requests were due, and how many of `requests` are late in each trouble.

    Raises:
        ConfigError: wrk is missing, or there is only one core.
    """
    detour = free_port()
    with arena(plan, var, tell, commands(detour)) as (redis, servers), few_arena(plan, var, tell) as few:
        found = measured(redis, {**servers, **few}, detour, plan, requests, tell)
    return {"plan": {**asdict(plan), "requests": requests}, "machine": machine(), "figures": found}


def commands(detour: int) -> dict[str, list[str]]:
    """Return the servers to measure: one whose Redis is near, one that finds it at port `detour`, which is slow."""
    slow = ["env", f"AIGQ_REDIS_URL=redis://127.0.0.1:{detour}/0", *aigq("serve")]
    return {"hints": aigq("serve"), "slow": slow}


@contextlib.contextmanager
def few_arena(plan: Plan, var: Path, tell: Callable[[str], None]) -> Iterator[dict[str, Server]]:
    """Run the same service on a Redis of its own that holds few shoppers; yield it by name."""
    with arena(_few(plan), var, tell, {"few": aigq("serve")}) as (_, servers):
        yield servers


def measured(
    redis: Store,
    servers: Mapping[str, Server],
    detour: int,
    plan: Plan,
    requests: int,
    tell: Callable[[str], None],
) -> dict[str, Figures]:
    """Return the figures. Redis is dead afterwards."""
    server = servers["hints"]
    saturation = statistics.median(load(server.url, plan, plan.seconds)["requests_s"] for _ in range(3))
    tell(f"saturated at {saturation:,.0f} requests/s")
    many, few = [], []
    load(servers["few"].url, _few(plan), plan.seconds)  # the other one is warm, too
    for number in range(plan.repeats):
        many.append(at_rate(server, _BUSY * saturation, plan))
        few.append(at_rate(servers["few"], _BUSY * saturation, _few(plan)))
        tell(f"round {number + 1}: p99 {many[-1].percentile(0.99):.1f} ms, few {few[-1].percentile(0.99):.1f} ms")
    late: dict[str, Figures] = {}
    troubles = {
        "well": None, "frozen": _frozen(redis.pid), "slow": _slow(redis.port, detour), "dead": _dead(redis.pid)
    }  # fmt: skip
    for name, trouble in troubles.items():
        one = servers["slow" if name == "slow" else "hints"]
        answers, stalls = asked(one, _CALM * saturation, requests, plan, trouble)
        late |= {f"{figure}_{name}": spread([value]) for figure, value in lateness(answers, stalls).items()}
        tell(f"Redis {name}: {late[f'late_{name}']['max']:.0f} of {requests:,} late")
    return {
        "saturation_requests_s": spread([saturation]),
        "p50_ms_at_70pct": spread([one.percentile(0.5) for one in many]),
        "p99_ms_at_70pct": spread([one.percentile(0.99) for one in many]),
        f"p99_ms_at_70pct_of_{_FEW}": spread([one.percentile(0.99) for one in few]),
        f"p99_ratio_{plan.shoppers}_to_{_FEW}": spread(
            [ours.percentile(0.99) / other.percentile(0.99) for ours, other in zip(many, few, strict=True)]
        ),
        **late,
    }


def lateness(answers: Answers, stalls: Stalls) -> Figures:
    """Return how many answers were late, by the server's clock and on the wire, and how the server stood still.

    Late is more than the budget and 2 ms. The server's clock starts when it has read a request and stops when it begins
    to write; the wire is an upper bound, with what sockets and load generator add. With Redis well, the late ones are
    the machine's.
    """
    found = {
        "late": float(answers.later_than(_LIMIT_MS)),
        "late_wire": float(answers.later_on_the_wire_than(_LIMIT_MS)),
        "failed": float(answers.failed),
        "max_server_ms": max(answers.server_ms),
        "max_wire_ms": max(answers.wire_ms),
        "stolen_ms": stalls.stolen_ms,
    }
    if stalls.run_queue_ms is not None:
        found |= {"run_queue_ms": stalls.run_queue_ms, "max_run_queue_ms": stalls.longest_ms}
    return found


def _few(plan: Plan) -> Plan:
    return replace(plan, shoppers=min(_FEW, plan.shoppers))


@asynccontextmanager
async def _frozen(pid: int) -> AsyncIterator[None]:
    """Redis keeps its connections and answers nothing."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def _dead(pid: int) -> AsyncIterator[None]:
    """Redis is killed."""
    os.kill(pid, signal.SIGKILL)
    yield


@asynccontextmanager
async def _slow(port: int, detour: int) -> AsyncIterator[None]:
    """Redis, at `detour`, answers 200 ms later."""

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: float) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(_CHUNK):
                await asyncio.sleep(delay_s)
                writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(asyncio.CancelledError):  # the end of the measurement; asyncio would print it
            await asyncio.gather(forward(reader, ours, 0.0), forward(theirs, writer, _SLOW_S))

    server = await asyncio.start_server(serve, "127.0.0.1", detour)
    try:
        yield
    finally:
        server.close()
