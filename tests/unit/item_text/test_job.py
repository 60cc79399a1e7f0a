"""Item-to-text as a job: which line names an item, who is asked for, and what is there after a stop."""

from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import polars as pl
import pytest

from service.contracts.errors import ArtefactError, GeneratorUnavailable, WrongModel
from service.contracts.settings import Settings, ThinkSettings, VllmSettings
from service.ranking.catalogue import Catalogue
from tests.support import TENT, TENT_CATEGORY
from workers.common import artefacts
from workers.common.engine import in_turn
from workers.common.fake_generator import FakeGenerator
from workers.common.generator import Generation
from workers.common.item_text import FILE, contents, read_written, surrogates
from workers.common.prompt import render_x2q_item
from workers.item_text import job
from workers.item_text.job import Item, Report, Texts, run

MAC = Item("Olivaro Macaroni and Cheese, Pack of 6", "Grocery > Pantry > Pasta", "Olivaro")
SETTINGS = Settings(think=ThinkSettings(batch_size=1))


def named(*lines: str) -> tuple[str | None, Counter[str]]:
    """Return the name that a list gives, and what was dropped."""
    drops: Counter[str] = Counter()
    return MAC.name(Generation("\n".join(lines), 9, truncated=False), drops), drops


def test_the_first_line_that_speaks_of_the_item_names_it() -> None:
    """Neither another brand's, nor what goes with it, nor markup."""
    name, drops = named("<b>", "acme macaroni", "tomato sauce", "macaroni cheese", "olivaro pasta")
    assert name == "macaroni cheese"
    assert drops == {"markup": 1, "finds_nothing": 2}


def test_where_no_line_does_there_is_no_name() -> None:
    """Nor where the model cannot take the prompt, nor where a name would be as long as a title."""
    assert named("spaghetti", "of the")[0] is None
    assert named("olivaro macaroni and cheese pack of 6 grocery pantry")[0] is None
    drops: Counter[str] = Counter()
    assert MAC.name(None, drops) is None
    assert drops["refused"] == 1


class Shop:
    """A dataset's items and events, a file of words, and a model that names items by their category."""

    def __init__(self, dataset: Path, path: Path) -> None:
        """Begin without words."""
        self.items = artefacts.read_items(dataset)
        came = [
            row
            for user in ("v1", "v2", "v3")
            for row in ((user, 0.0, "search", "small tent", None), (user, 1.0, "click", None, TENT))
        ]
        events = artefacts.read_behaviour(dataset)
        self.events = pl.concat([events, pl.DataFrame(came, schema=events.schema, orient="row")])
        self.path = path
        self.asked: list[str] = []

    async def run(
        self,
        settings: Settings = SETTINGS,
        reply: Callable[[str], str] = lambda prompt: (
            f"nonsense\n{prompt.split('<category>')[1].removesuffix('<hints>')}"
        ),
        dies_at: int = 99,
    ) -> Report:
        """Run the job; the model dies at its batch number `dies_at`."""

        def answer(prompt: str) -> str:
            self.asked.append(prompt)
            if len(self.asked) == dies_at:
                raise GeneratorUnavailable("killed")
            return reply(prompt)

        self.asked = []
        engine = partial(in_turn, FakeGenerator(answer))
        return await run(self.items, self.events, Texts(self.path, settings), engine, settings, lambda *_: None)

    def words(self) -> dict[str, str]:
        """Return item id -> words, as artefacts have them."""
        return surrogates(self.events, self.items, read_written(self.path))


@pytest.fixture
def shop(dataset: Path, tmp_path: Path) -> Shop:
    """Return a shop of four items; shoppers came to the tent by a query."""
    return Shop(dataset, tmp_path / "texts.parquet")


async def test_items_that_the_logs_do_not_tell_are_asked_for(shop: Shop) -> None:
    """Their words are the model's, those of the others stay; a thing that the model cannot name keeps its title."""
    before = shop.words()
    report = await shop.run()
    assert (report.items, report.told, report.asked, report.written, report.plain) == (4, 1, 3, 2, 1)
    assert render_x2q_item("Two Person Tent", TENT_CATEGORY) not in shop.asked
    after = shop.words()
    assert (before["stove-1"], after["stove-1"], after["monitor-1"]) == ("Stoves", "stoves", "safety")
    assert after[TENT] == before[TENT] == "small tent"
    assert after["odd-1"] == "Thing Without Category"


async def test_only_new_and_changed_items_are_asked_for_again(shop: Shop) -> None:
    """What the model could not name counts as asked; a deleted item leaves the file; another model is asked anew."""
    await shop.run()
    again = await shop.run()
    assert (again.cached, again.asked, again.written) == (3, 0, 2)
    retitled = pl.when(pl.col("item_id") == "stove-1").then(pl.lit("Petrol Stove")).otherwise("title").alias("title")
    shop.items = shop.items.filter(pl.col("item_id") != "monitor-1").with_columns(retitled)
    changed = await shop.run()
    assert shop.asked == [render_x2q_item("Petrol Stove", "Outdoors > Camping > Stoves")]
    assert (changed.cached, changed.asked) == (1, 1)
    assert len(read_written(shop.path)) == 1
    other = await shop.run(SETTINGS.model_copy(update={"vllm": VllmSettings(model="other")}))
    assert (other.cached, other.asked) == (0, 2)


async def test_a_stopped_run_goes_on(shop: Shop) -> None:
    """What was answered before the model died is in the file; no draft is left."""
    with pytest.raises(GeneratorUnavailable):
        await shop.run(dies_at=3)
    report = await shop.run()
    assert (report.cached, report.asked) == (2, 1)
    assert [path.name for path in shop.path.parent.iterdir()] == [shop.path.name]


async def test_the_artefact_takes_the_words(shop: Shop, dataset: Path, tmp_path: Path) -> None:
    """From the file under its root; so prompts do, online and nearline."""
    shop.path = tmp_path / FILE
    await shop.run()
    artefacts.build(dataset, tmp_path)
    catalogue = Catalogue.open(tmp_path)
    found = catalogue.items(["stove-1", "odd-1"])
    catalogue.close()
    assert (found["stove-1"].words, found["odd-1"].words) == ("stoves", "Thing Without Category")


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    """With what to do."""
    (tmp_path / FILE).write_bytes(b"PAR1 half")
    with pytest.raises(ArtefactError, match=r"item_texts\.parquet: cannot be read .* aigq item-text build"):
        read_written(tmp_path / FILE)


def test_content_is_all_that_names_an_item() -> None:
    """A price is not; an attribute is. A column that a shop leaves out is as good as empty."""
    items = pl.DataFrame({"title": ["a"], "category": ["b"], "brand": ["c"], "price": [1.0]})
    (known,) = contents(items)
    assert contents(items.with_columns(price=2.0, attributes=pl.lit(None, pl.String))) == [known]
    assert contents(items.with_columns(attributes=pl.lit("{}"))) != [known]


@pytest.mark.parametrize(
    ("says", "usable"),
    [("gas camping stove", True), ("<b>\nsmall tent", True), ("", False), ("Sure! Here is a list:", False)],
)
async def test_known_items_come_first(shop: Shop, says: str, usable: bool) -> None:  # noqa: FBT001
    """A model that writes nothing in the words of shoppers and catalogue is not asked for names."""
    generator = FakeGenerator(lambda _: says)
    canary = job.canary(generator, shop.items, shop.events)
    with nullcontext() if usable else pytest.raises(WrongModel, match="no query that may be shown"):
        await canary.check()
    assert generator.batches == [[render_x2q_item("Two Person Tent", TENT_CATEGORY)]], "the logs tell the tent"
    await job.canary(FakeGenerator(lambda _: "stove"), shop.items, shop.events.clear()).check()
