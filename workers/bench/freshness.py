"""From an event to the list that knows it, while shoppers come at a constant rate below what the path can take.

The capacity is what a burst gets (`nearline.burst`). A latency counts from when its event was due to be sent, whatever
came before, to when the list was there to be read; nothing delays a refresh here, so this is what comes on top of
`queue.delay_s`.
"""

import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import orjson
from redis import Redis

from service.contracts.keys import shopper_sid
from workers.bench.common import KEYS, Figures, machine, spread
from workers.bench.nearline import Running, artefacts_of, burst, running_path
from workers.bench.visitors import Visitor, visitors
from workers.common.dataset import Dataset

_LOOK_S: Final = 0.02
_PATIENCE_S: Final = 60.0
_SENDERS: Final = 8


@dataclass(frozen=True)
class Plan:
    """`share` of the capacity for `seconds`; the capacity is the median of `rounds` bursts of `shoppers`."""

    share: float
    seconds: float
    shoppers: int
    rounds: int


def run(plan: Plan, model: Path, data: Path | None, var: Path, tell: Callable[[str], None]) -> dict[str, Any]:
    """Start everything; return the capacity, and percentiles of event to list at that share of it.

    Raises:
        ConfigError: the data has too few shoppers.
        StartError: a part did not come up.
    """
    artefacts = artefacts_of(data, var, tell)
    dataset = Dataset(data or var / "shop")
    bursts = plan.shoppers * (plan.rounds + 1)
    with running_path(model, artefacts, var, tell) as path:
        crowd = visitors(dataset, bursts)
        seconds = [
            burst(crowd[at : at + plan.shoppers], path)["seconds"] for at in range(0, bursts, plan.shoppers)
        ]  # the first one warms up
        capacity = spread([plan.shoppers / one for one in seconds[1:]])
        rate = capacity["median"] * plan.share
        tell(f"capacity {capacity['median']:.1f} shoppers/s; {rate:.1f}/s for {plan.seconds:.0f} s")
        some = visitors(dataset, bursts + max(1, round(rate * plan.seconds)))[bursts:]
        latencies = _steady(some, rate, path)
    figures = {"capacity_shoppers_s": capacity, "rate_shoppers_s": spread([len(some) / plan.seconds])}
    report = {"plan": asdict(plan), "model": model.name, "machine": machine(), "shoppers": len(latencies)}
    return {**report, "figures": figures | percentiles(latencies)}


def percentiles(latencies: Sequence[float]) -> dict[str, Figures]:
    """Return p50, p95 and p99 of latencies (s)."""
    cuts = statistics.quantiles(latencies, n=100, method="inclusive")
    return {f"event_to_list_s_p{cut}": spread([cuts[cut - 1]]) for cut in (50, 95, 99)}


def _steady(some: Sequence[Visitor], rate: float, path: Running) -> list[float]:
    """Send each visitor's events in turn, `rate` visitors a second; return how long each one's list took (s)."""
    headers = {"content-type": "application/json"}
    waiting: dict[str, float] = {}
    latencies: list[float] = []
    posts: deque[Future[None]] = deque()
    start = time.perf_counter()
    due = deque((start + number / rate, one) for number, one in enumerate(some))
    with httpx.Client(base_url=path.service, headers=headers) as client, ThreadPoolExecutor(_SENDERS) as senders:

        def post(one: Visitor) -> None:
            client.post("/v1/events", content=orjson.dumps(one.events(time.time()))).raise_for_status()

        while due or waiting:
            while due and due[0][0] <= time.perf_counter():
                at, one = due.popleft()
                waiting[KEYS.u2q(shopper_sid(one.user_id))] = at
                posts.append(senders.submit(post, one))
            while posts and posts[0].done():
                posts.popleft().result()  # an event that was not taken ends the measurement
            latencies += [time.perf_counter() - waiting.pop(key) for key in _there(path.redis, list(waiting))]
            if waiting and time.perf_counter() - min(waiting.values()) > _PATIENCE_S:
                raise TimeoutError(f"no list after {_PATIENCE_S:.0f} s: the path does not keep up")
            time.sleep(_LOOK_S)
    return latencies


def _there(redis: Redis, keys: Sequence[str]) -> list[str]:
    pipe = redis.pipeline(transaction=False)
    for key in keys:
        pipe.exists(key)
    return [key for key, found in zip(keys, pipe.execute() if keys else [], strict=True) if found]
