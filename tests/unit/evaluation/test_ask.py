"""Which checkpoint is asked what, and which rows come of it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from service.contracts.keys import item_trigger
from service.contracts.settings import Settings, VllmSettings
from tests.unit.evaluation.shops import CUT, DAY
from workers.common.dataset import Dataset
from workers.common.generator import Generation
from workers.common.reasons import Lesson
from workers.common.triggers import select
from workers.evaluation import learned
from workers.evaluation.ask import Asker
from workers.evaluation.cases import Act, Case, Split
from workers.evaluation.merged import CALIBRATED, MERGED, NO_LIST, ROWS, THINK, UNLED, WITHOUT, WITHOUT_THINK


class Servers:
    """Servers that only say which checkpoint they are on, and a way to ask that remembers what."""

    def __init__(self) -> None:
        """Nothing runs."""
        self.running: str | None = None
        self.asked: list[tuple[str | None, bool]] = []
        """By question: the checkpoint, and whether it was of triggers."""

    @contextmanager
    def serve(self, path: Path, name: str, settings: VllmSettings) -> Iterator[VllmSettings]:
        """One at a time, as memory allows."""
        assert self.running is None
        self.running = path.name
        yield settings.model_copy(update={"model": name})
        self.running = None

    async def answer(
        self, settings: VllmSettings, prompts: Sequence[str], advance: Callable[[int], None]
    ) -> dict[str, Generation]:
        """Shoppers get one list, triggers another."""
        del settings
        triggers = not prompts[0].startswith("<u2q>")
        self.asked.append((self.running, triggers))
        advance(len(prompts))
        return {one: Generation("dog food" if triggers else "monitor arm", 3, truncated=False) for one in prompts}


@pytest.mark.parametrize("other", [False, True])
def test_rows_with_and_without_the_lists_of_think(
    journey_data: Dataset, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, other: bool
) -> None:
    """Think's row has the triggers' lists and nothing else; those of another checkpoint are asked of its own server."""
    monkeypatch.delenv("AIGQ_VLLM_URL", raising=False)
    for name in ("direct", "thinker"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text('{"max_position_embeddings": 512}')
    servers = Servers()
    heard: list[str] = []
    case = Case("c", {"segment": "segment 0"}, [Act("click", CUT - DAY, "camping stove-item")], ("dog food",))
    with closing(learned.catalogue(journey_data, split, tmp_path)) as catalogue:
        alone = replace(split, test=[case])
        triggers = select(journey_data.root, 100, 1_000_000, 80.0, learning=True).prompts
        asker = Asker(
            alone, triggers, catalogue, Settings(), None, lambda stage, *_: heard.append(stage), serve=servers.serve
        )
        think = tmp_path / "thinker" if other else None
        lists, rows, about = asker.served("il_sft", tmp_path / "direct", think, servers.answer)
        found = {row.name: row.suggest([case])[0] for row in rows}
        compared = asker.alone("sft", tmp_path / "thinker", servers.answer)
    writes = "thinker" if other else "direct"
    assert servers.asked == [("direct", False), (writes, True), ("thinker", False)]
    assert heard.count("triggers of think" if other else "triggers of il_sft") == 1
    assert about == {"checkpoint": writes, "asked": 2, "taught": 0, "filled": 2, "reasoning": False, "drops": {}}
    assert lists.suggest([case]) == compared.suggest([case]) == [["monitor arm"]]
    assert tuple(found) == tuple(row for row in ROWS if not row.endswith(CALIBRATED))
    assert found[THINK] == ["dog food"]
    assert {"dog food", "monitor arm"} <= set(found[MERGED][:3])
    assert "monitor arm" in found[WITHOUT_THINK][:2]
    assert not {"dog food", "monitor arm"} & set(found[WITHOUT][:2])


def test_a_lesson_is_not_asked_for(journey_data: Dataset, split: Split, tmp_path: Path) -> None:
    """What triggers lead to is the teacher's where it said something, and the model's where not."""
    (tmp_path / "direct").mkdir()
    (tmp_path / "direct" / "config.json").write_text('{"max_position_embeddings": 512}')
    case = Case("c", {}, [Act("click", CUT - DAY, "camping stove-item")], ("dog food",))
    trigger = item_trigger("camping stove-item")
    lessons = {trigger: Lesson(trigger, "", "goes with light", ["desk lamp"], "wise")}
    servers = Servers()
    with closing(learned.catalogue(journey_data, split, tmp_path)) as catalogue:
        triggers = select(journey_data.root, 100, 1_000_000, 80.0, learning=True).prompts
        asker = Asker(
            replace(split, test=[case]), triggers, catalogue, Settings(), None, lambda *_: None, serve=servers.serve,
            lessons=lessons,
        )  # fmt: skip
        _, rows, about = asker.served("il_sft", tmp_path / "direct", None, servers.answer)
        found = {row.name: row.suggest([case])[0] for row in rows}
    assert (about["asked"], about["taught"], about["filled"]) == (1, 1, 2)
    assert found[THINK] == ["desk lamp"]
    assert found[NO_LIST][0] == "desk lamp"
    assert found[UNLED][0] == "sleeping bag"


@pytest.mark.parametrize("given", [False, True])
def test_penalties_are_as_the_checkpoint_needs_them(
    journey_data: Dataset, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, given: bool
) -> None:
    """On a server that was started for it and on one that was given: a line's end that is a token may come again."""
    if given:
        monkeypatch.setenv("AIGQ_VLLM_URL", "http://localhost:8000")
    else:
        monkeypatch.delenv("AIGQ_VLLM_URL", raising=False)
    seen: list[tuple[float, float]] = []
    servers = Servers()

    async def answer(
        settings: VllmSettings, prompts: Sequence[str], advance: Callable[[int], None]
    ) -> dict[str, Generation]:
        seen.append((settings.presence_penalty, settings.frequency_penalty))
        return await servers.answer(settings, prompts, advance)

    case = Case("c", {}, [], ("dog food",))
    with closing(learned.catalogue(journey_data, split, tmp_path)) as catalogue:
        asker = Asker(
            replace(split, test=[case]), [], catalogue, Settings(), None, lambda *_: None, serve=servers.serve
        )
        for line_token in (0, 1):
            (tmp_path / "config.json").write_text(f'{{"aigq_line_token": {line_token}}}')
            asker.served("il_sft", tmp_path, None, answer)
    kept = Settings().vllm
    assert seen == [(kept.presence_penalty, kept.frequency_penalty), (0, 0)]
    assert kept.presence_penalty > 0
