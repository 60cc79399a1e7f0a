"""A server of an arena asked at a constant rate, from all cores but the first: what wrk, a closed loop, cannot tell."""

import asyncio
import contextlib
import os
from contextlib import AbstractAsyncContextManager
from random import Random

import orjson

from service.contracts.errors import ConfigError
from workers.bench import store
from workers.bench.arena import Plan, Server
from workers.bench.constant_rate import Answers, Message, ask
from workers.bench.stalls import Stalls, watched


def asked(
    server: Server,
    rate: float,
    requests: int,
    plan: Plan,
    trouble: AbstractAsyncContextManager[None] | None = None,
    kind: str = "hints",
) -> tuple[Answers, Stalls]:
    """Ask for the hints of random ones of the plan's shoppers, in `trouble` if any; tell how the server stood still.

    `kind` is what `hints.lua` knows: "feast" asks Feast for the feature that holds them.
    """
    chance = Random(7)  # noqa: S311  (a workload)

    async def work() -> tuple[Answers, Stalls]:
        async with trouble or contextlib.nullcontext(), watched(server.pid) as stalls:
            answers = await ask(
                server.url, rate, requests, plan.connections,
                lambda _: message(kind, store.shopper(chance.randrange(plan.shoppers))),
            )  # fmt: skip
        return answers, stalls

    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(sorted(cores)[1:]))
    try:
        return asyncio.run(work())
    finally:
        os.sched_setaffinity(0, cores)


def at_rate(server: Server, rate: float, plan: Plan, kind: str = "hints") -> Answers:
    """Ask `server` at `rate` for as long as the plan says.

    Raises:
        ConfigError: requests failed, so the figures would mean nothing.
    """
    answers, _ = asked(server, rate, max(1, round(rate * plan.seconds)), plan, kind=kind)
    if answers.failed:
        raise ConfigError(f"{answers.failed} of {answers.requests} answers of {kind} were no 200")
    return answers


def message(kind: str, shopper: str) -> Message:
    """Return what is sent to a server of that kind, the same as wrk sends."""
    if kind == "feast":
        wanted = {"features": ["u2q:hints"], "entities": {"user_id": [shopper]}}
        return Message("/get-online-features", orjson.dumps(wanted))
    return Message(f"/v1/hints?user_id={shopper}")
