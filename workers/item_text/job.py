"""Ask the model what items are called of which the logs do not tell, and keep its words by content.

The task is the x2q prompt of an item, whose labels are the queries before and after it. The first line that says
nothing but what the item's title, brand or category say is its name: so it would find this item, and is neither another
brand nor what is bought with it. Where no line does, the rule stays (`workers.common.item_text.plain`).
"""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import orjson
import polars as pl

from service.contracts.settings import Settings
from service.ranking.inverted_index import content_words
from workers.common.canary import PROMPTS, Canary, lists
from workers.common.engine import Engine
from workers.common.generator import Generation, Generator
from workers.common.item_text import MAX_WORDS, SCHEMA, contents, led_by, read_texts, texts
from workers.common.list_parser import parse_list, refusing
from workers.common.prompt import render_x2q_item, tells

_RECIPE: Final = 1
"""Raise it when other words would be chosen from the same list."""
_SAVE_S: Final = 30.0
"""A killed run loses at most what came since."""


@dataclass(slots=True)
class Report:
    """What became of the items; `told` by the logs, the others `cached` or `asked`; `plain` of these have no words."""

    items: int
    told: int = 0
    cached: int = 0
    asked: int = 0
    written: int = 0
    plain: int = 0
    tokens: int = 0
    seconds: float = 0.0
    drops: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Item:
    """What a name is made from and judged by."""

    title: str
    category: str
    brand: str

    @property
    def prompt(self) -> str:
        """The task."""
        return render_x2q_item(self.title, self.category)

    def name(self, generation: Generation | None, drops: Counter[str]) -> str | None:
        """Return the first line that could be this item's name; `drops` counts why others could not."""
        if generation is None:
            drops["refused"] += 1
            return None
        own = content_words(f"{self.title} {self.brand} {self.category}")

        def finds(query: str) -> bool:
            words = content_words(query)
            return bool(words) and words <= own and len(query.split()) <= MAX_WORDS

        return next((one.query for one in parse_list(generation, drops, refusing(finds))), None)


def canary(generator: Generator, items: pl.DataFrame, events: pl.DataFrame) -> Canary:
    """Return one that asks for items that the logs tell, and wants a query in the words of shoppers and catalogue."""
    rows = items.join(led_by(events), on="item_id", how="semi", maintain_order="left").head(PROMPTS)
    known = rows if rows.height else items.head(PROMPTS)
    told = [*events["query"].drop_nulls().unique(), *texts(items, events)]
    vocabulary = content_words(" ".join(told))

    def finds(query: str) -> bool:
        words = content_words(query)
        return bool(words) and words <= vocabulary

    prompts = known.select("title", pl.col("category").fill_null("")).iter_rows()
    return Canary(generator, [render_x2q_item(*row) for row in prompts], lists(refusing(finds)))


class Texts:
    """The file of words: one row a content, written whole and renamed."""

    def __init__(self, path: Path, settings: Settings) -> None:
        """Open `path`, or begin it; words of another model are not known.

        Raises:
            ArtefactError: it cannot be read.
        """
        self._path = path
        recipe = orjson.dumps([_RECIPE, *settings.vllm.recipe])
        self._made_from = hashlib.blake2b(recipe, digest_size=8).hexdigest()
        found = read_texts(path).filter(pl.col("made_from") == self._made_from)
        self.words: dict[str, str | None] = dict(found.select("content", "words").iter_rows())

    def save(self, wanted: Iterable[str]) -> None:
        """Write the words of `wanted` contents: an item that left the catalogue leaves the file."""
        rows = [(content, self._made_from, self.words[content]) for content in sorted(wanted) if content in self.words]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_name(f".{self._path.name}.draft")
        pl.DataFrame(rows, schema=SCHEMA, orient="row").write_parquet(draft)
        draft.replace(self._path)


async def run(
    items: pl.DataFrame,
    events: pl.DataFrame,
    cache: Texts,
    engine: Engine,
    settings: Settings,
    progress: Callable[[int, int], None],
) -> Report:
    """Ask for the words of items that `events` do not tell, and save them; `progress` hears (done, of).

    Whatever ends the run, what was answered before stays in the file.

    Raises:
        GeneratorError: the model failed.
    """
    started = time.monotonic()
    untold = _untold(items, events)
    report = Report(items.height, told=items.height - len(untold))
    of_content = {content: item for content, item in untold.values() if tells(item.prompt)}
    wanted = [content for content in of_content if content not in cache.words]
    drops: Counter[str] = Counter()
    saved = time.monotonic()
    progress(len(of_content) - len(wanted), len(of_content))
    try:
        prompts = [of_content[content].prompt for content in wanted]
        async for answers in engine(prompts, settings.think.batch_size):
            for at, generation in answers:
                cache.words[wanted[at]] = of_content[wanted[at]].name(generation, drops)
                report.tokens += generation.tokens if generation is not None else 0
            report.asked += len(answers)
            progress(len(of_content) - len(wanted) + report.asked, len(of_content))
            if time.monotonic() - saved > _SAVE_S:
                cache.save(of_content)
                saved = time.monotonic()
    finally:
        cache.save(of_content)
    report.cached = len(of_content) - len(wanted)
    report.written = sum(cache.words.get(content) is not None for content, _ in untold.values())
    report.plain = len(untold) - report.written
    report.drops, report.seconds = dict(drops), round(time.monotonic() - started, 2)
    return report


def _untold(items: pl.DataFrame, events: pl.DataFrame) -> Mapping[str, tuple[str, Item]]:
    """Return item id -> (content, item) of the items to which no query tellingly led."""
    told = set(led_by(events)["item_id"])
    rows = items.select("item_id", "title", pl.col("category", "brand").fill_null("")).iter_rows()
    return {
        item_id: (content, Item(title, category, brand))
        for content, (item_id, title, category, brand) in zip(contents(items), rows, strict=True)
        if item_id not in told
    }
