"""Generate a list for each trigger and publish them as one version."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from service.contracts.codecs import QueryList
from service.contracts.settings import Settings
from service.ranking.catalogue import Catalogue
from workers.common.generator import Generator
from workers.common.list_parser import parse_list
from workers.think.publish import PublishError, X2QStore
from workers.think.triggers import TriggerPrompt


@dataclass(frozen=True, slots=True)
class Report:
    """What a published version holds."""

    model: str
    triggers: int
    filled: int
    queries: int
    tokens: int
    seconds: float
    drops: dict[str, int]


async def publish(
    store: X2QStore,
    generator: Generator,
    prompts: Sequence[TriggerPrompt],
    catalogue: Catalogue,
    settings: Settings,
    progress: Callable[[int], None],
) -> tuple[str, Report]:
    """Generate for all `prompts`, stage, check coverage, flip; `progress` hears of each batch's size.

    Raises:
        PublishError: too few triggers got a list; nothing changed.
        GeneratorError: the model failed; nothing changed.
    """
    await generator.check()
    version = store.new_version()
    started = time.monotonic()
    drops: Counter[str] = Counter()
    filled = queries = tokens = 0
    size = settings.think.batch_size
    for start in range(0, len(prompts), size):
        batch = prompts[start : start + size]
        generations = await generator.generate([one.prompt for one in batch])
        now_ms = round(time.time() * 1000)
        lists: dict[str, QueryList] = {}
        for one, generation in zip(batch, generations, strict=True):
            if generation is None:
                drops["refused"] += 1
                continue
            tokens += generation.tokens
            found = parse_list(generation, drops, catalogue.finds)
            if found:
                lists[one.trigger] = QueryList(0, now_ms, settings.vllm.model, found)
        await store.stage(version, lists)
        filled += len(lists)
        queries += sum(len(value.queries) for value in lists.values())
        progress(len(batch))
    if not prompts or filled / len(prompts) < settings.think.min_coverage:
        raise PublishError(
            f"only {filled} of {len(prompts)} triggers got a list, think.min_coverage asks for "
            f"{settings.think.min_coverage:.0%}; dropped: {dict(drops)}. The current version stays."
        )
    seconds = round(time.monotonic() - started, 2)
    report = Report(settings.vllm.model, len(prompts), filled, queries, tokens, seconds, dict(drops))
    await store.publish(version, asdict(report))
    return version, report
