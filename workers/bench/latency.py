"""Latency at a constant rate: at 70% of saturation, for few and for many shoppers, and while Redis is in trouble."""

import asyncio
import contextlib
import os
import signal
import statistics
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any, Final

from workers.bench import constant_rate, store
from workers.bench.arena import Plan, Server, arena, load
from workers.bench.common import machine, spread
from workers.bench.constant_rate import Answers
from workers.common.processes import aigq, free_port

_BUSY: Final = 0.7
_CALM: Final = 0.5
_FEW: Final = 1000
_SPARE_MS: Final = 2.0
_BUDGET_MS: Final = 50.0
"""`service.budget_ms`."""
_SLOW_S: Final = 0.2
_CHUNK: Final = 65_536


def run(plan: Plan, requests: int, var: Path, tell: Callable[[str], None]) -> dict[str, Any]:
    """Return p50 and p99 (ms) from when requests were due, and how many of `requests` are late in each trouble.

    Late is more than the budget and 2 ms after the first byte came in, by the server's clock; with Redis well, the
    late ones are the machine's.

    Raises:
        ConfigError: wrk is missing, or there is only one core.
    """
    detour = free_port()
    commands = {
        "hints": aigq("serve"),
        "slow": ["env", f"AIGQ_REDIS_URL=redis://127.0.0.1:{detour}/0", *aigq("serve")],
    }
    with arena(plan, var, tell, commands) as (redis, servers):
        server = servers["hints"]
        saturation = statistics.median(load(server.url, plan, plan.seconds)["requests_s"] for _ in range(3))
        tell(f"saturated at {saturation:,.0f} requests/s")
        rate, count = _BUSY * saturation, round(_BUSY * saturation * plan.seconds)
        many, few = [], []
        for number in range(plan.repeats):
            many.append(_ask(server, rate, count, plan, plan.shoppers))
            few.append(_ask(server, rate, count, plan, min(_FEW, plan.shoppers)))
            tell(f"round {number + 1}: p99 {many[-1].percentile(0.99):.1f} ms, few {few[-1].percentile(0.99):.1f} ms")
        late = {}
        troubles = {
            "well": None, "frozen": _frozen(redis.pid), "slow": _slow(redis.port, detour), "dead": _dead(redis.pid)
        }  # fmt: skip
        for name, trouble in troubles.items():
            asked = servers["slow" if name == "slow" else "hints"]
            answers = _ask(asked, _CALM * saturation, requests, plan, plan.shoppers, trouble)
            late[f"late_{name}"] = spread([answers.later_than(_BUDGET_MS + _SPARE_MS)])
            late[f"failed_{name}"] = spread([answers.failed])
            late[f"max_server_ms_{name}"] = spread([max(answers.server_ms)])
            tell(f"Redis {name}: {late[f'late_{name}']['max']:.0f} of {requests:,} late")
    found = {
        "saturation_requests_s": spread([saturation]),
        "p50_ms_at_70pct": spread([one.percentile(0.5) for one in many]),
        "p99_ms_at_70pct": spread([one.percentile(0.99) for one in many]),
        f"p99_ratio_{plan.shoppers}_to_{_FEW}": spread(
            [ours.percentile(0.99) / other.percentile(0.99) for ours, other in zip(many, few, strict=True)]
        ),
        **late,
    }
    return {"plan": {**asdict(plan), "requests": requests}, "machine": machine(), "figures": found}


def at_rate(server: Server, rate: float, plan: Plan) -> Answers:
    """Ask `server` for hints at `rate` for as long as the plan says, all its shoppers."""
    return _ask(server, rate, round(rate * plan.seconds), plan, plan.shoppers)


def _ask(
    server: Server,
    rate: float,
    requests: int,
    plan: Plan,
    shoppers: int,
    trouble: contextlib.AbstractAsyncContextManager[None] | None = None,
) -> Answers:
    """Ask for the hints of random ones of the first `shoppers`, from all cores but the first."""
    chance = Random(7)  # noqa: S311  (a workload)

    async def work() -> Answers:
        async with trouble or contextlib.nullcontext():
            return await constant_rate.ask(
                server.url, rate, requests, plan.connections,
                lambda _: f"/v1/hints?user_id={store.shopper(chance.randrange(shoppers))}",
            )  # fmt: skip

    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(sorted(cores)[1:]))
    try:
        return asyncio.run(work())
    finally:
        os.sched_setaffinity(0, cores)


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
