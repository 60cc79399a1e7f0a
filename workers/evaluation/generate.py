"""Asks a model for many lists in batches, as the workers do."""

from collections.abc import Callable, Sequence

from service.contracts.settings import VllmSettings
from workers.common.generator import Generation, Generator
from workers.common.prompt import PROMPT_TOKENS, REASONING_TOKENS, REASONS
from workers.common.vllm_client import VllmGenerator

_BATCH = 64


async def generate_with(
    generator: Generator, prompts: Sequence[str], advance: Callable[[int], None]
) -> dict[str, Generation]:
    """Return a generation by distinct prompt; a prompt that the model refuses has none. `advance` hears of batches.

    Raises:
        GeneratorError: the model is away, or another one answers.
    """
    await generator.check()
    distinct = list(dict.fromkeys(prompts))
    found: dict[str, Generation] = {}
    for start in range(0, len(distinct), _BATCH):
        batch = distinct[start : start + _BATCH]
        generations = await generator.generate(batch)
        found.update((prompt, one) for prompt, one in zip(batch, generations, strict=True) if one is not None)
        advance(len(batch))
    return found


async def generate(
    settings: VllmSettings, prompts: Sequence[str], advance: Callable[[int], None]
) -> dict[str, Generation]:
    """See `generate_with`; on the server that `settings` reach."""
    reasons = any(prompt.endswith(REASONS) for prompt in prompts)
    async with VllmGenerator(settings, tokens=REASONING_TOKENS if reasons else PROMPT_TOKENS) as generator:
        return await generate_with(generator, prompts, advance)
