"""Think on a local Ray: what comes out is what this process alone would have made, and so is what a failure leaves."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from service.contracts.errors import GeneratorUnavailable, WrongModel
from service.contracts.settings import Settings, ThinkSettings, VllmSettings
from tests.integration.fake_vllm import FakeVllm, running
from tests.integration.rig import Rig
from workers.common.engine import EngineName, make_engine
from workers.common.generator import Generation
from workers.common.prompt import PROMPT_TOKENS, REASONING_TOKENS, REASONS, Action, render_u2q
from workers.common.triggers import select
from workers.common.vllm_client import VllmGenerator
from workers.think.job import Job, Progress
from workers.think.publish import X2QStore

# Ray's own defaults for settings of its own that it has renamed.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.use_(push_based_shuffle|polars|arrow_tensor_v2). is deprecated:DeprecationWarning"
)
_STORE_BYTES = 80_000_000
_LIST_TOKENS = 30.0


@pytest.fixture(scope="module", autouse=True)
def _local_ray() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(
            num_cpus=2, include_dashboard=False, object_store_memory=_STORE_BYTES, logging_level=logging.ERROR,
            log_to_driver=False,
        )  # fmt: skip
        yield
        ray.shutdown()


class Think:
    """A job on a server in place of vLLM, by either engine."""

    def __init__(self, rig: Rig, dataset: Path, fake: FakeVllm) -> None:
        """Work in the rig's namespace."""
        self.fake = fake
        self.store = X2QStore(rig.redis, rig.keys, 6 * 3600)
        sections: dict[str, Any] = {
            "think": ThinkSettings(batch_size=2, ray_batches=2),
            "vllm": VllmSettings(url=fake.url, retries=0),
        }
        self.settings: Settings = rig.settings.model_copy(update=sections)
        self.chosen = select(dataset, 4, 100_000, _LIST_TOKENS)
        self.catalogue = rig.catalogue
        self.seen: list[Progress] = []

    async def run(self, name: EngineName, **options: bool) -> Any:
        """Run the job once; return its version, report and difference."""
        vllm, tokens = self.settings.vllm, PROMPT_TOKENS
        if self.settings.think.reasoning:
            tokens = REASONING_TOKENS
        async with VllmGenerator(vllm, tokens=tokens) as generator:
            engine = make_engine(name, generator, vllm, self.settings.think.ray_batches)
            job = Job(self.store, generator, self.catalogue, self.settings, engine)
            return await job.run(self.chosen, self.seen.append, **options)

    async def lists(self, version: str) -> dict[str, Any]:
        """Return the queries of a version, with their scores."""
        found = await self.store.lists(version, [one.trigger for one in self.chosen.prompts])
        return {trigger: value.queries for trigger, value in found.items()}


@pytest.fixture
def think(make_rig: Callable[..., Rig], dataset: Path) -> Iterator[Think]:
    """Return a job's surroundings in a namespace of its own."""
    with running(FakeVllm()) as fake:
        yield Think(make_rig(), dataset, fake)


async def test_ray_makes_what_one_process_makes(think: Think) -> None:
    """The same lists, contexts and counts; each prompt is asked once, in batches of the set size."""
    refused = think.chosen.prompts[1].prompt
    think.fake.broken_by = lambda prompt: 400 if prompt == refused else 0
    options = {"everything": True, "force": True}
    local, told, _ = await think.run(EngineName.LOCAL, **options)
    think.fake.asked.clear()
    think.fake.batches.clear()
    version, report, difference = await think.run(EngineName.RAY, **options)
    lists = await think.lists(version)
    assert lists == await think.lists(local)
    assert len(lists) == len(think.chosen.prompts) - 1
    assert await think.store.contexts(version) == await think.store.contexts(local)
    assert (report.drops, report.tokens, report.kinds) == (told.drops, told.tokens, told.kinds)
    assert report.drops["refused"] == 1
    assert (difference.touched, difference.added, difference.removed) == (0, 0, 0)
    assert set(think.fake.asked) == {one.prompt for one in think.chosen.prompts}
    assert max(think.fake.batches) == 2
    assert (think.seen[-1].done, think.seen[-1].tokens_left) == (report.triggers, 0)


async def test_reasons_come_back_from_ray(think: Think) -> None:
    """The same lists and rationales by either engine."""
    section = think.settings.think.model_copy(update={"reasoning": True})
    think.settings = think.settings.model_copy(update={"think": section})
    think.fake.count = len(REASONING_TOKENS)
    think.fake.reply = lambda prompt: (
        f"goes with {len(prompt)}th things<hints>" if prompt.endswith(REASONS) else f"tent {len(prompt)}\nsleeping bag"
    )
    made = []
    for name in EngineName:
        version, report, _ = await think.run(name, everything=True, force=True)
        lists = await think.lists(version)
        made.append((lists, await think.store.reasons(version, lists), report.drops))
        assert report.filled == len(think.chosen.prompts)
    assert made[0] == made[1]
    assert made[0][1].keys() == made[0][0].keys()
    rationales = [prompt for prompt in think.fake.asked if prompt.endswith(REASONS)]
    assert 2 * len(rationales) == len(think.fake.asked), "each list is asked for after its rationale"


async def test_answers_come_back_as_they_are(think: Think) -> None:
    """Taken, refused and shortened prompts alike; without prompts there is nothing."""
    think.fake.broken_by = lambda prompt: 400 if len(prompt) > 60 or "lamp" in prompt else 0
    long = render_u2q([Action("search", float(n), f"tent number {n}") for n in range(9)], {}, 9.0)
    prompts = ["<u2q><now><search>\nrope<hints>", long, "<u2q><now><search>\nlamp<hints>"]
    found: dict[EngineName, dict[int, Generation | None]] = {}
    async with VllmGenerator(think.settings.vllm) as generator:
        for name in EngineName:
            engine = make_engine(name, generator, think.settings.vllm, 2)
            found[name] = {at: answer async for answers in engine(prompts, 2) for at, answer in answers}
            assert [answers async for answers in engine([], 2)] == []
    assert found[EngineName.RAY] == found[EngineName.LOCAL]
    assert [one and one.shortened for _, one in sorted(found[EngineName.RAY].items())] == [False, True, None]


async def test_a_stopped_run_goes_on_with_ray(think: Think) -> None:
    """The model's error is told as it is; what was made before it is copied, whoever goes on."""
    fatal = think.chosen.prompts[-1].prompt
    think.fake.broken_by = lambda prompt: 500 if prompt == fatal else 0
    with pytest.raises(GeneratorUnavailable, match="vLLM answers 500"):
        await think.run(EngineName.RAY)
    assert await think.store.current() is None
    (unfinished,) = await think.store.unfinished()
    made = set(await think.store.contexts(unfinished))
    assert made
    think.fake.broken_by = lambda _: 0
    think.fake.asked.clear()
    _, report, _ = await think.run(EngineName.RAY)
    assert report.copied == len(made)
    assert report.generated == report.triggers - len(made)
    _, again, _ = await think.run(EngineName.RAY)
    assert (again.copied, again.generated) == (again.triggers, 0)


async def test_another_model_is_refused_before_ray_is_asked(think: Think) -> None:
    """The check is this process's own."""
    think.fake.model = "other"
    with pytest.raises(WrongModel):
        await think.run(EngineName.RAY)
    assert not think.fake.asked
