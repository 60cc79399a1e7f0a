"""Ray Data as the engine: batches of prompts are tasks of a cluster, each of which asks vLLM over HTTP.

`RAY_ADDRESS` names the cluster; without it, Ray starts on this machine and ends with this process. Tasks need the
`aigq` package and a way to vLLM, nothing else: catalogue and Redis stay with the process that asked.
https://docs.ray.io/en/latest/data/transforming-data.html
"""

import asyncio
import logging
import math
import os
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
import ray
import ray.data
from ray.data import DataContext, TaskPoolStrategy

from service.contracts.errors import GeneratorError, GeneratorUnavailable
from service.contracts.settings import VllmSettings
from workers.common.engine import Answers
from workers.common.generator import Generation
from workers.common.vllm_client import VllmGenerator

_CPUS_A_TASK: Final = 0.1
"""A task waits for vLLM nearly all of its time."""
_ANSWER: Final = ("at", "taken", "text", "tokens", "truncated", "shortened")
_NOWHERE: Final = -1
_NOTHING: Final = Generation("", 0, truncated=False)
_USAGE_STATS: Final = "RAY_USAGE_STATS_ENABLED"

_Columns = dict[str, np.ndarray[Any, Any]]


async def on_ray(
    settings: VllmSettings, in_flight: int, prompts: Sequence[str], batch_size: int
) -> AsyncIterator[Answers]:
    """Ask `in_flight` batches at once. With the first two arguments it is an `Engine`.

    A task whose node died is run again by Ray.
    """
    if not prompts:
        return
    _start()
    batches = math.ceil(len(prompts) / batch_size)
    asked = ray.data.from_items(
        [{"at": at, "prompt": prompt} for at, prompt in enumerate(prompts)], override_num_blocks=batches
    )
    at_once = TaskPoolStrategy(min(in_flight, batches))
    done = asked.map_batches(partial(_ask, settings), batch_size=batch_size, compute=at_once, num_cpus=_CPUS_A_TASK)
    # Ray waits without asyncio, and nothing else runs in this process meanwhile.
    for block in done.iter_batches(batch_size=None):
        await asyncio.sleep(0)  # where Ctrl-C is heard
        for error in filter(None, block["error"]):
            raise GeneratorUnavailable(error)
        answers = zip(*(block[name].tolist() for name in _ANSWER), strict=True)
        yield [(at, Generation(*written) if taken else None) for at, taken, *written in answers]


def _ask(settings: VllmSettings, batch: _Columns) -> _Columns:
    """Return the answers to a batch, or in their place the error that became of it: Ray would tell it as its own.

    Columns have no nulls, since Ray makes NaN of some.
    """
    places: list[int] = batch["at"].tolist()
    generations: list[Generation | None] = []
    message = ""
    try:
        generations = asyncio.run(_generate(settings, batch["prompt"].tolist()))
    except GeneratorError as error:
        places, generations, message = [_NOWHERE], [None], str(error)
    told = [one or _NOTHING for one in generations]
    return {
        "at": np.array(places),
        "taken": np.array([one is not None for one in generations]),
        "text": np.array([one.text for one in told], dtype=object),
        "tokens": np.array([one.tokens for one in told]),
        "truncated": np.array([one.truncated for one in told]),
        "shortened": np.array([one.shortened for one in told]),
        "error": np.array([message] * len(told), dtype=object),
    }


async def _generate(settings: VllmSettings, prompts: Sequence[str]) -> list[Generation | None]:
    async with VllmGenerator(settings) as generator:
        return await generator.generate(prompts)


def _start() -> None:
    """Connect to Ray, unless the caller did; it tells nobody that it is used, and its progress is ours to show."""
    os.environ.setdefault(_USAGE_STATS, "0")
    if not ray.is_initialized():
        ray.init(include_dashboard=False, logging_level=logging.ERROR)
    DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)
