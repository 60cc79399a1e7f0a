"""A Think run on a real Redis: what is copied, what is asked for, what is refused, and what a kill leaves behind."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from service.contracts.codecs import decode_list
from service.contracts.errors import GeneratorUnavailable, WrongModel
from service.contracts.settings import Settings, ThinkSettings
from service.ranking.catalogue import Catalogue
from service.ranking.filter import BlockList
from tests.integration.rig import Rig
from workers.common import artefacts
from workers.common.canary import PROMPTS
from workers.common.fake_generator import FakeGenerator
from workers.common.generator import Generation
from workers.common.prompt import REASONS
from workers.common.reasons import Lesson
from workers.common.triggers import Selection, select
from workers.think.compare import compare
from workers.think.job import Job, Progress, trigger_canary
from workers.think.publish import PublishError, X2QStore

DAY_S = 24 * 3600
_LIST_TOKENS = 30.0


def write(prompt: str) -> str:
    """Answer with a list that tells the prompt, and a line that is dropped."""
    return f"gear {abs(hash(prompt)) % 1000}\nsleeping bag\n<b>"


class Counted(FakeGenerator):
    """Remembers what it was asked, and dies at the batch number `dies_at`."""

    def __init__(self, reply: Callable[[str], str | None] = write, dies_at: int | None = None) -> None:
        """Answer by `reply`."""
        super().__init__(reply)
        self.asked: list[str] = []
        self._batches, self._dies_at = 0, dies_at

    async def generate(self, prompts: Sequence[str]) -> list[Generation | None]:
        """See `Generator.generate`."""
        self._batches += 1
        if self._batches == self._dies_at:
            raise GeneratorUnavailable("killed")
        self.asked += prompts
        return await super().generate(prompts)


class Think:
    """A store, settings and triggers of a small dataset."""

    def __init__(self, rig: Rig, dataset: Path, **think: Any) -> None:
        """Work in the rig's namespace."""
        self.rig = rig
        self.catalogue = rig.catalogue
        self.store = X2QStore(rig.redis, rig.keys, 6 * 3600)
        self.settings: Settings = rig.settings.model_copy(update={"think": ThinkSettings(batch_size=2, **think)})
        self.chosen = select(dataset, 4, 100_000, _LIST_TOKENS)
        self.seen: list[Progress] = []

    async def run(
        self,
        generator: Counted,
        chosen: Selection | None = None,
        lessons: Sequence[Lesson] = (),
        **options: bool,
    ) -> Any:
        """Run the job once; return its version, report and difference."""
        known = {one.trigger: one for one in lessons}
        job = Job(self.store, generator, self.catalogue, self.settings, lessons=known)
        return await job.run(chosen or self.chosen, self.seen.append, **options)


@pytest.fixture
async def think(make_rig: Callable[..., Rig], dataset: Path) -> Think:
    """Return a job's surroundings in a namespace of its own."""
    return Think(make_rig(), dataset)


async def test_what_the_model_wrote_is_published(think: Think) -> None:
    """A list for each trigger, read back, counted by kind; progress ends at the end with nothing left to spend."""
    version, report, difference = await think.run(Counted())
    assert await think.store.current() == version
    total = len(think.chosen.prompts)
    assert (report.triggers, report.filled, report.generated, report.copied) == (total, total, total, 0)
    assert sum(asked for asked, _ in report.kinds.values()) == total
    assert {"item", "category", "query", "segment"} >= report.kinds.keys() >= {"item", "category"}
    assert report.drops["markup"] == total
    assert difference is None
    assert (think.seen[-1].done, think.seen[-1].tokens_left) == (total, 0)
    first = think.chosen.prompts[0]
    raw = await think.rig.redis.get(think.rig.keys.x2q(version, first.trigger))
    assert "sleeping bag" in [one.query for one in decode_list(first.trigger, raw).queries]


def reason(prompt: str) -> str:
    """Answer with reasons if asked for them; as a model that forgets itself where the prompt tells of a stove."""
    if not prompt.endswith(REASONS):
        return write(prompt)
    return "sleeping bag" if "stove" in prompt else f"goes with bags<hints>{write(prompt)}"


async def test_lists_of_lessons_are_published_as_they_are(think: Think) -> None:
    """The model is asked for the rest alone; what is copied afterwards is what is still taught."""
    total, first = len(think.chosen.prompts), think.chosen.prompts[0]
    await think.run(Counted())

    async def shown() -> tuple[list[str], str]:
        raw = await think.rig.redis.get(think.rig.keys.x2q(await think.store.current(), first.trigger))
        found = decode_list(first.trigger, raw)
        return [one.query for one in found.queries], found.model

    lesson = Lesson(first.trigger, first.prompt, "goes with bags", ["sleeping bag", "<b>"], "wise")
    model = Counted()
    _, report, _ = await think.run(model, lessons=[lesson, replace(lesson, trigger="query:nobody asks")], force=True)
    assert (report.taught, report.copied, report.generated, report.filled) == (1, total - 1, 0, total)
    assert first.prompt not in model.asked
    assert await shown() == (["sleeping bag"], "wise")
    _, report, _ = await think.run(Counted(), lessons=[lesson])
    assert (report.taught, report.copied) == (0, total), "the same lesson is copied"
    _, report, _ = await think.run(Counted(), lessons=[replace(lesson, queries=["tent"])], force=True)
    assert (report.taught, report.copied) == (1, total - 1), "another one is not"
    _, report, _ = await think.run(model, force=True)
    assert (report.generated, report.copied) == (1, total - 1), "without the lesson the model is asked"
    assert (await shown())[1] != "wise"


async def test_lists_with_reasons_are_published_without_them(think: Think) -> None:
    """The list alone is for shoppers; what does not parse is counted and not covered; plain lists are not copied."""
    plain, _, _ = await think.run(Counted())
    section = think.settings.think.model_copy(update={"reasoning": True, "min_coverage": 0.5, "min_kept": 0.5})
    think.settings = think.settings.model_copy(update={"think": section})
    model = Counted(reason)
    version, report, _ = await think.run(model, force=True)
    assert all(prompt.endswith(REASONS) for prompt in model.asked)
    assert (report.reasoning, report.copied, report.generated) == (True, 0, len(think.chosen.prompts))
    unparsed = sum("stove" in one.prompt for one in think.chosen.prompts)
    assert 0 < unparsed == report.drops["no_list"] == report.triggers - report.filled
    lists = await think.store.lists(version, [one.trigger for one in think.chosen.prompts])
    assert all(value.texts[0].startswith("gear ") for value in lists.values())
    assert not any("goes with" in query for value in lists.values() for query in value.texts)
    third, again, _ = await think.run(Counted(reason), force=True)
    assert again.copied == report.filled, "and those with reasons are"
    assert await think.store.reasons(third, lists) == dict.fromkeys(lists, "goes with bags")
    shown = (await compare(think.store, plain, third)).samples
    assert shown[0].reasons == "goes with bags"


async def test_only_what_changed_is_asked_for(think: Think) -> None:
    """The rest is copied; the new version is whole, and compared with the last."""
    await think.run(Counted())
    first, *others = think.chosen.prompts
    changed = Selection([replace(first, prompt=first.prompt + "!"), *others], think.chosen.covered)
    again = Counted()
    version, report, difference = await think.run(again, changed)
    assert (report.copied, report.generated) == (len(others), 1)
    assert again.asked.count(first.prompt + "!") == 1
    assert report.filled == len(think.chosen.prompts)
    assert (difference.added, difference.removed, difference.shared) == (0, 0, report.filled)
    assert difference.touched == 1
    contexts = await think.store.contexts(version)
    assert contexts.keys() == {one.trigger for one in changed.prompts}


async def test_another_checkpoint_under_the_same_name_is_noticed(think: Think) -> None:
    """A few lists are asked for again; if they come out otherwise, nothing is copied."""
    await think.run(Counted())
    version, report, _ = await think.run(Counted(lambda prompt: "tent pegs\n" + write(prompt)), force=True)
    assert (report.copied, report.generated) == (0, len(think.chosen.prompts))
    assert await think.store.current() == version


async def test_a_killed_run_is_resumed(think: Think) -> None:
    """Nothing was published; what it made is not asked for again, and it is no version to go back to."""
    dying = Counted(dies_at=3)
    with pytest.raises(GeneratorUnavailable):
        await think.run(dying)
    assert await think.store.current() is None
    assert len(await think.store.unfinished()) == 1
    again = Counted()
    _, report, _ = await think.run(again)
    assert report.copied == len(dying.asked) == 4
    assert report.generated == len(think.chosen.prompts) - 4
    assert report.filled == len(think.chosen.prompts)


@pytest.mark.parametrize("reply", [lambda _: None, lambda _: "<b>", lambda p: "tent pegs" if "<item>" in p else ""])
async def test_low_coverage_is_refused(think: Think, reply: Callable[[str], str | None]) -> None:
    """A model that went wrong does not replace a version that works; what it wrote goes by itself."""
    good, _, _ = await think.run(Counted())
    with pytest.raises(PublishError, match=r"triggers got a list.*version stays"):
        await think.run(Counted(reply), everything=True)
    assert await think.store.current() == good
    async for key in think.rig.redis.scan_iter(match=think.rig.keys.x2q_pattern()):
        if think.rig.keys.x2q_version(key.decode()) != good:
            assert 0 < await think.rig.redis.ttl(key) <= DAY_S


async def test_a_version_far_from_the_last_one_is_refused(think: Think) -> None:
    """The same model writes much the same; fewer triggers are noticed too. `force` overrules both."""
    good, _, _ = await think.run(Counted())
    other = Counted(lambda prompt: f"lamp {len(prompt)}\ndesk {len(prompt)}\nchair")
    with pytest.raises(PublishError, match=r"lost half of their queries.*aigq think diff"):
        await think.run(other, everything=True)
    half = Selection(think.chosen.prompts[: len(think.chosen.prompts) // 2], think.chosen.covered)
    with pytest.raises(PublishError, match=r"think\.min_kept"):
        await think.run(Counted(), half)
    assert await think.store.current() == good
    version, _, _ = await think.run(Counted(), half, force=True)
    assert await think.store.current() == version


async def test_nothing_is_never_published(think: Think) -> None:
    """Not even by force: an empty dataset is no reason to serve nothing."""
    for force in (False, True):
        with pytest.raises(PublishError, match="0 of 0"):
            await think.run(Counted(), Selection([], {}), force=force)
    assert await think.store.current() is None


async def test_a_difference_says_what_came_and_went(think: Think) -> None:
    """By kind, with samples of what changed."""
    old, _, _ = await think.run(Counted())
    gone, *kept = think.chosen.prompts
    new, _, _ = await think.run(Counted(), Selection(kept, think.chosen.covered), force=True)
    found = await compare(think.store, old, new)
    assert (found.removed, found.added, found.touched) == (1, 0, 0)
    kind = gone.trigger.split(":")[0]
    assert found.lists[kind][0] == found.lists[kind][1] + 1
    assert found.samples == []


async def test_a_deleted_item_leaves_with_the_next_version(think: Think, dataset: Path, tmp_path: Path) -> None:
    """Its own list goes, and so do queries of others that only it answered: those lists are made anew, no others."""

    def reply(prompt: str) -> str:
        return "two person tent\nvideo baby monitor" + "\ngas stove" * ("torch" in prompt)

    artefacts.build(dataset, tmp_path / "before")
    think.catalogue = Catalogue.open(tmp_path / "before")
    await think.run(Counted(reply))
    shutil.copytree(dataset, tmp_path / "data")
    items = pl.read_parquet(dataset / "items.parquet")
    items.filter(pl.col("item_id") != "stove-1").write_parquet(tmp_path / "data" / "items.parquet")
    artefacts.build(tmp_path / "data", tmp_path / "after")
    think.catalogue = Catalogue.open(tmp_path / "after")
    gone = {"item:stove-1", "category:Outdoors > Camping > Stoves"}
    version, report, difference = await think.run(Counted(reply), select(tmp_path / "data", 4, 100_000, _LIST_TOKENS))
    assert report.generated == sum("torch" in one.prompt for one in think.chosen.prompts) > 0
    assert difference.removed == len(gone)
    lists = await think.store.lists(version, [one.trigger for one in think.chosen.prompts])
    assert not lists.keys() & gone
    assert {query for value in lists.values() for query in value.texts} == {"two person tent", "video baby monitor"}


async def test_what_the_shop_blocks_leaves_with_the_next_version(think: Think) -> None:
    """Lists that hold it are not copied but made anew, without it; it is counted."""

    def reply(prompt: str) -> str:
        return "two person tent\nvideo baby monitor" + "\nhunting knives" * ("torch" in prompt)

    await think.run(Counted(reply))
    think.catalogue = replace(think.catalogue, blocked=BlockList.of(["knives"]))
    version, report, _ = await think.run(Counted(reply))
    held = sum("torch" in one.prompt for one in think.chosen.prompts)
    assert (report.generated, report.drops["blocked"]) == (held, held)
    assert held > 0
    lists = await think.store.lists(version, [one.trigger for one in think.chosen.prompts])
    assert {query for value in lists.values() for query in value.texts} == {"two person tent", "video baby monitor"}


@pytest.mark.parametrize("reasoning", [False, True])
async def test_the_canary_keeps_garbage_out(
    make_rig: Callable[..., Rig],
    dataset: Path,
    reasoning: bool,  # noqa: FBT001
) -> None:
    """A model that cannot write lists is asked known prompts, in the form that triggers have, and nothing else."""
    think = Think(make_rig(), dataset, reasoning=reasoning)
    says = "Sure! Here are some searches: http://a.example <hints>"
    generator = Counted(lambda _: says)
    canary = trigger_canary(generator, think.catalogue, reasoning=reasoning)
    with pytest.raises(WrongModel, match="no query that may be shown"):
        await Job(think.store, canary, think.catalogue, think.settings).run(think.chosen, lambda _: None)
    assert len(generator.asked) == PROMPTS
    assert all(prompt.endswith(REASONS) is reasoning for prompt in generator.asked)
    assert await think.store.current() is None
    says = "goes with it<hints>sleeping bag" if reasoning else "sleeping bag"
    await canary.check()
