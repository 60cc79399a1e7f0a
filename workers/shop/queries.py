"""Queries: what can be asked of a category, at every level of detail, and the ways in which people type it."""

from bisect import bisect_right
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, Self

from workers.shop.catalogue import CHINESE, Category
from workers.shop.draws import Draws, running_sums
from workers.shop.items import Item, overlaps, trails
from workers.shop.schema import read_yaml

NONE = -1
_SHORTEST_TYPO = 4
_LINKING = ("for", "with", "without", "of", "in")


class Level(IntEnum):
    """How much a query says."""

    PRODUCT = 0  # "tent"
    KIND = 1  # "dome tent"
    ATTRIBUTE = 2  # "waterproof tent"
    USE = 3  # "tent for backpacking"
    BRAND = 4  # "campra tent"
    TWO = 5  # "waterproof 4 person tent"
    PRICE = 6  # "cheap tent"
    MODEL = 7  # "campra ridge 2"
    GIFT = 8  # "gifts for campers"


@dataclass(slots=True, eq=False)
class Query:
    """One thing to ask. `forms` are the ways of typing it, the most common first; `sums` their running weights.

    Fields that the query does not say are `NONE`; `values` holds (axis, value) pairs.
    """

    category: Category
    level: Level
    kind: int
    brand: int
    values: tuple[tuple[int, int], ...]
    forms: tuple[str, ...]
    sums: list[float]


@dataclass(frozen=True, slots=True)
class TypingHabits:
    """What data/typing.yaml says."""

    typo_share: float
    habit_share: float
    variant_weights: list[float]
    abbreviations: dict[str, list[str]]
    no_plural: frozenset[str]
    price_words: list[str]
    zh_price_words: list[str]
    neighbours: dict[str, str]

    @classmethod
    def read(cls, data: Path) -> Self:
        """Return the file's content."""
        content: dict[str, Any] = read_yaml(data / "typing.yaml")
        return cls(**{**content, "no_plural": frozenset(content["no_plural"])})

    def plural(self, phrase: str) -> str | None:
        """Return the phrase with its last word in the plural; None where nobody would say that."""
        word = phrase.rsplit(" ", 1)[-1]
        if word in self.no_plural or not (word.isalpha() and word.isascii()):
            return None
        if word.endswith("s") or any(f" {small} " in phrase for small in _LINKING):
            return None
        if word.endswith("y") and word[-2:-1] not in "aeiou":
            return phrase[:-1] + "ies"
        if word.endswith(("f", "fe")):  # shelf, knife: left to the data files
            return None
        return phrase + ("es" if word.endswith(("ch", "sh", "x")) else "s")

    def abbreviated(self, phrase: str) -> list[str]:
        """Return the phrase with one word or pair of words shortened, in each way known."""
        padded = f" {phrase} "
        found = []
        for word, shorts in self.abbreviations.items():
            if f" {word} " in padded:
                found += [padded.replace(f" {word} ", f" {short} ", 1).strip() for short in shorts]
        return found

    def misspell(self, text: str, draws: Draws) -> str:
        """Return `text` with a slip of the finger: letters swapped, left out, doubled, or the key beside."""
        places = [n for n in range(1, len(text) - 1) if text[n].isalpha() and text[n].isascii()]
        if len(places) < _SHORTEST_TYPO:
            return text
        n = places[draws.below(len(places))]
        slips = (
            text[: n - 1] + text[n] + text[n - 1] + text[n + 1 :],
            text[:n] + text[n + 1 :],
            text[:n] + text[n] + text[n:],
            text[:n] + self.neighbours[text[n]][0] + text[n + 1 :],
        )
        return " ".join(slips[draws.below(len(slips))].split())


class QueryBook:
    """Every query of the shop, made when first asked for. `by_text` is what production would understand of a text."""

    def __init__(self, habits: TypingHabits) -> None:
        self.habits = habits
        self.by_text: dict[str, Query] = {}
        self._made: dict[tuple[object, ...], Query] = {}

    def form(self, query: Query, habit: float, draws: Draws) -> str:
        """Return the form that a shopper means to type; `habit` in [0, 1) is the shopper's own way among the forms."""
        place = habit if draws.uniform() < self.habits.habit_share else draws.uniform()
        return query.forms[bisect_right(query.sums, place * query.sums[-1])]

    def slip(self, text: str, draws: Draws) -> str:
        """Return `text` as it leaves the fingers: a known share with a typo."""
        return self.habits.misspell(text, draws) if draws.uniform() < self.habits.typo_share else text

    def product(self, category: Category, kind: int) -> Query:
        """The category itself (`kind` NONE) or one of its product types."""
        level = Level.PRODUCT if kind == NONE else Level.KIND
        made = self._query((category.index, level, kind))
        return made or self._add(category, level, kind, self._words(category, kind))

    def attribute(self, category: Category, kind: int, axis: int, value: int) -> Query:
        """A product with one attribute; without it where the product's name says it already."""
        key = (category.index, Level.ATTRIBUTE, kind, axis, value)
        if made := self._query(key):
            return made
        words = self._words(category, kind)
        said = category.axes[axis].values[value]
        if overlaps(said, words[0]):
            return self.product(category, kind)
        forms = [_described(category, said, word) for word in words[:3]]
        forms[1:1] = [f"{words[0]} {said}"]
        return self._add(category, Level.ATTRIBUTE, kind, forms, values=((axis, value),), key=key)

    def two(self, category: Category, kind: int, first: tuple[int, int], second: tuple[int, int]) -> Query:
        """A product with two attributes, given as (axis, value)."""
        key = (category.index, Level.TWO, kind, first, second)
        if made := self._query(key):
            return made
        word = self._words(category, kind)[0]
        said, more = (category.axes[axis].values[value] for axis, value in (first, second))
        if overlaps(more, f"{said} {word}"):
            return self.attribute(category, kind, *first)
        if overlaps(said, word):
            return self.attribute(category, kind, *second)
        forms = [
            _described(category, said, _described(category, more, word)),
            _described(category, more, _described(category, said, word)),
            f"{_described(category, said, word)} {more}",
        ]
        return self._add(category, Level.TWO, kind, forms, values=(first, second), key=key)

    def use(self, category: Category, kind: int, use: int) -> Query:
        """A product for a purpose."""
        key = (category.index, Level.USE, kind, use)
        if made := self._query(key):
            return made
        words, purpose = self._words(category, kind), category.use_cases[use]
        words = [word for word in words if " for " not in word] or words
        if category.locale == CHINESE:
            forms = [_join(category, purpose, words[0]), f"{words[0]} {purpose}", f"适合{purpose}的{words[0]}"]
        elif overlaps(purpose, words[0]):
            return self.product(category, kind)
        else:
            forms = [f"{words[0]} for {purpose}", f"{words[-1]} for {purpose}", f"best {words[0]} for {purpose}"]
        return self._add(category, Level.USE, kind, forms, key=key)

    def brand(self, category: Category, kind: int, brand: int) -> Query:
        """A brand's product."""
        key = (category.index, Level.BRAND, kind, brand)
        if made := self._query(key):
            return made
        words, name = self._words(category, kind), category.brands[brand].name.lower()
        forms = [_join(category, name, word) for word in words[:3]]
        forms[1:1] = [f"{words[0]} {name}" if category.locale != CHINESE else f"{name} {words[0]}"]
        if kind == NONE:
            forms.append(name)
        return self._add(category, Level.BRAND, kind, forms, brand=brand, key=key)

    def price(self, category: Category, kind: int, word: int) -> Query:
        """A cheap, or the best, product."""
        key = (category.index, Level.PRICE, kind, word)
        if made := self._query(key):
            return made
        price_words = self.habits.zh_price_words if category.locale == CHINESE else self.habits.price_words
        said = price_words[word % len(price_words)]
        forms = [_join(category, said, product) for product in self._words(category, kind)[:3]]
        return self._add(category, Level.PRICE, kind, forms, key=key)

    def model(self, item: Item) -> Query:
        """One listing by its brand and model; the brand's product where the listing has no model."""
        category = item.category
        if not item.model:
            return self.brand(category, item.kind, item.brand)
        key = (category.index, Level.MODEL, item.id)
        if made := self._query(key):
            return made
        name, model = category.brands[item.brand].name.lower(), item.model.lower()
        forms = [f"{name} {model}", _join(category, f"{name} {model}", category.head[0])]
        values = tuple(enumerate(item.values))
        return self._add(category, Level.MODEL, item.kind, forms, brand=item.brand, values=values, key=key)

    def gift(self, category: Category, audience: int) -> Query:
        """A gift for somebody, looked for in this category; the category itself where it has no gifts."""
        if not category.gift_for:
            return self.product(category, NONE)
        key = (category.index, Level.GIFT, audience)
        if made := self._query(key):
            return made
        who = category.gift_for[audience % len(category.gift_for)]
        forms = [f"gifts for {who}", f"gift for {who}", f"gift ideas for {who}", f"{category.head[0]} gift for {who}"]
        return self._add(category, Level.GIFT, NONE, forms, key=key)

    def _words(self, category: Category, kind: int) -> list[str]:
        """What the product is called: the first name, its plural, further names and their plurals."""
        words = category.head if kind == NONE else category.kinds[kind].words
        if category.locale == CHINESE:
            return list(words)
        plurals = [plural for word in words if (plural := self.habits.plural(word))]
        return list(dict.fromkeys([words[0], *plurals[:1], *words[1:], *plurals[1:]]))

    def _query(self, key: tuple[object, ...]) -> Query | None:
        return self._made.get(key)

    def _add(
        self,
        category: Category,
        level: Level,
        kind: int,
        forms: list[str],
        *,
        brand: int = NONE,
        values: tuple[tuple[int, int], ...] = (),
        key: tuple[object, ...] = (),
    ) -> Query:
        short = [text for form in forms[:2] for text in self.habits.abbreviated(form)]
        weights = self.habits.variant_weights
        typed = (form.lower() for form in (*forms[: len(weights) - 2], *short))
        distinct = tuple(dict.fromkeys(typed))[: len(weights)]
        query = Query(category, level, kind, brand, values, distinct, running_sums(weights[: len(distinct)]))
        self._made[key or (category.index, level, kind)] = query
        for form in distinct:
            self.by_text.setdefault(form, query)
        return query


def _described(category: Category, attribute: str, product: str) -> str:
    """Put an attribute where the locale puts it: before the product, "with drawers" after it."""
    if trails(attribute):
        return f"{product} {attribute}"
    return _join(category, attribute, product)


def _join(category: Category, *words: str) -> str:
    """Join words as the locale does: Chinese without spaces, except beside Latin letters."""
    if category.locale != CHINESE:
        return " ".join(words)
    text = words[0]
    for word in words[1:]:
        text += f" {word}" if text[-1].isascii() else word
    return text
