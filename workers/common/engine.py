"""Who sends batches of prompts to the model: this process, one batch after another, or Ray Data, many at once.

Either way a batch goes through `Generator.generate`, and what comes back is the caller's to parse and to keep. So which
engine ran cannot be told from the result.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from enum import StrEnum
from functools import partial

from service.contracts.errors import ConfigError
from service.contracts.settings import VllmSettings
from workers.common.generator import Generation, Generator

Answers = list[tuple[int, Generation | None]]
"""What became of a batch: the place of each prompt, and what the model wrote (None: it cannot take the prompt)."""
Engine = Callable[[Sequence[str], int], AsyncIterator[Answers]]
"""Takes prompts and the size of a batch; gives batches as they are done, in any order, each prompt once.

It raises GeneratorError if the model failed; what was given before stands.
"""


class EngineName(StrEnum):
    """What `--engine` takes."""

    LOCAL = "local"
    RAY = "ray"


async def in_turn(generator: Generator, prompts: Sequence[str], batch_size: int) -> AsyncIterator[Answers]:
    """Ask batch after batch, from this process. With a generator it is an `Engine`."""
    for start in range(0, len(prompts), batch_size):
        yield list(enumerate(await generator.generate(prompts[start : start + batch_size]), start))


def make_engine(name: EngineName, generator: Generator, settings: VllmSettings, in_flight: int) -> Engine:
    """Return the engine of that name; Ray keeps `in_flight` batches at the model.

    Raises:
        ConfigError: Ray is not installed.
    """
    if name is EngineName.LOCAL:
        return partial(in_turn, generator)
    try:
        from workers.common.ray_engine import on_ray  # noqa: PLC0415  (only who asks for Ray needs it)
    except ModuleNotFoundError as error:
        raise ConfigError(f"--engine ray needs {error.name}; install it with: pip install 'aigq[ray]'") from None
    return partial(on_ray, settings, in_flight)
