"""Listings: items whose titles read like a marketplace's (brand, attributes, type, model, size or pack)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import orjson

from service.contracts.text import has_cjk
from workers.shop.draws import Draws, Stream
from workers.shop.schema import read_yaml

if TYPE_CHECKING:
    from workers.shop.catalogue import Category

_CATALOGUE_SEED = 20261101
"""The catalogue is the same whatever the seed of the logs: a model trained on one seed knows the items of another."""
_PRICE_NOISE = 0.13
_WEIGHT_SIGMA = 1.1
_ROUND_PRICE = 100.0
_ATTEMPTS = 6


@dataclass(slots=True, eq=False)
class Item:
    """An item on sale; `values` are indices into the category's axes, `weight` its share of the shelf."""

    id: str
    title: str
    category: Category
    brand: int
    kind: int
    values: tuple[int, ...]
    model: str
    price: float
    seller: str
    weight: float

    def attributes(self) -> str:
        """Return the attributes as a JSON map."""
        named = zip(self.category.axes, self.values, strict=True)
        return orjson.dumps(
            {"type": self.category.kinds[self.kind].name, **{axis.name: axis.values[value] for axis, value in named}}
        ).decode()


@dataclass(frozen=True, slots=True)
class Listings:
    """What data/listings.yaml says."""

    items_base: int
    items_per_popularity: int
    zh_items_base: int
    zh_items_per_popularity: int
    sellers: int
    model_share: float
    tier_price: dict[str, float]
    small_words: frozenset[str]
    acronyms: frozenset[str]
    model_words: tuple[str, ...]
    zh_specs: tuple[str, ...]

    @classmethod
    def read(cls, data: Path) -> Self:
        """Return the file's content."""
        content = read_yaml(data / "listings.yaml")
        for name, kind in (
            ("small_words", frozenset),
            ("acronyms", frozenset),
            ("model_words", tuple),
            ("zh_specs", tuple),
        ):
            content[name] = kind(content[name])
        return cls(**content)

    def titled(self, text: str) -> str:
        """Return `text` in title case; acronyms and sizes in capitals, small words as they are."""
        words = []
        for word in text.split():
            if word in self.acronyms:
                words.append(word.upper())
            elif word in self.small_words or not word[0].isalpha():
                words.append(word)
            else:
                words.append(word[0].upper() + word[1:])
        return " ".join(words)


def overlaps(value: str, product: str) -> bool:
    """Whether an attribute would repeat what the product's name says already ("dry" and "dry dog food")."""
    if has_cjk(product):
        return value in product
    said = {word.rstrip("s") for word in product.split()}
    return any(word.rstrip("s") in said for word in value.split())


def trails(value: str) -> bool:
    """Whether an attribute stands after the product ("with drawers")."""
    return value.startswith(("with ", "without ", "for "))


def list_items(category: Category, listings: Listings) -> list[Item]:
    """Return the items of a category, always the same ones."""
    draws = Draws(_CATALOGUE_SEED, Stream.CATALOGUE, category.index)
    chinese = category.specs is listings.zh_specs
    base, more = (
        (listings.zh_items_base, listings.zh_items_per_popularity)
        if chinese
        else (listings.items_base, listings.items_per_popularity)
    )
    count = base + round(more * category.popularity)
    prefix = f"{category.department.replace('-', '')[:4]}-{category.id}-{'z' if chinese else ''}"
    weights = [kind.weight for kind in category.kinds]
    sums = [sum(weights[: n + 1]) for n in range(len(weights))]
    kind_price = [draws.normal() * _PRICE_NOISE for _ in category.kinds]
    items: list[Item] = []
    titles: set[str] = set()
    for number in range(1, count + 1):
        # Every product type is on sale, whatever its share.
        kind = number - 1 if number <= len(weights) else draws.pick(sums)
        brand = draws.below(len(category.brands))
        values = tuple(draws.below(len(axis.values)) for axis in category.axes)
        # Food and other consumables have no model names.
        named = category.repurchase_days is None and draws.chance(listings.model_share)
        model = _model(draws, listings) if named else ""
        write = _chinese_title if chinese else _english_title
        for _ in range(_ATTEMPTS):
            title = write(category, kind, brand, values, model, draws, listings)
            if title not in titles:
                break
        titles.add(title)
        price = _price(category, brand, kind_price[kind], draws, listings)
        seller = f"seller-{1 + draws.below(listings.sellers):03d}"
        weight = 2.718281828 ** (_WEIGHT_SIGMA * draws.normal())
        items.append(Item(f"{prefix}{number:04d}", title, category, brand, kind, values, model, price, seller, weight))
    return items


def _model(draws: Draws, listings: Listings) -> str:
    word = listings.model_words[draws.below(len(listings.model_words))]
    if draws.chance(0.5):
        return f"{word} {2 + draws.below(8)}"
    return f"{word[0]}{chr(65 + draws.below(26))}{10 * (1 + draws.below(60))}"


def _price(category: Category, brand: int, kind_shift: float, draws: Draws, listings: Listings) -> float:
    place = listings.tier_price[category.brands[brand].tier] + kind_shift + _PRICE_NOISE * draws.normal()
    low, high = category.price
    price = low * (high / low) ** min(max(place, 0.0), 1.0)
    return round(price) - 0.01 if price < _ROUND_PRICE else float(round(price)) - 0.05


def _english_title(
    category: Category, kind: int, brand: int, values: tuple[int, ...], model: str, draws: Draws, listings: Listings
) -> str:
    name = category.kinds[kind].name
    told = [axis.values[value] for axis, value in zip(category.axes, values, strict=True)]
    told = [value for value in told if not overlaps(value, name)]
    rotate = draws.below(len(told)) if told else 0
    told = told[rotate:] + told[:rotate]
    told.sort(key=trails)  # stable: what trails goes last
    before = min(1 + draws.below(2), sum(not trails(value) for value in told))
    spec = category.specs[draws.below(len(category.specs))]
    use = f" for {listings.titled(category.use_cases[draws.below(len(category.use_cases))])}"
    parts = [category.brands[brand].name, model, *map(listings.titled, told[:before]), listings.titled(name)]
    title = " ".join(part for part in parts if part)
    tail = [listings.titled(value) for value in told[before : before + 1]]
    if draws.chance(0.3):
        title += use
    return ", ".join([title, *tail, spec])


def _chinese_title(
    category: Category, kind: int, brand: int, values: tuple[int, ...], model: str, draws: Draws, listings: Listings
) -> str:
    name = category.kinds[kind].name
    told = [axis.values[value] for axis, value in zip(category.axes, values, strict=True)]
    told = [value for value in told if not overlaps(value, name)]
    spec = listings.zh_specs[draws.below(len(listings.zh_specs))]
    use = category.use_cases[draws.below(len(category.use_cases))] if draws.chance(0.4) else ""
    return " ".join(part for part in (category.brands[brand].name, model, "".join(told[:2]) + name, use, spec) if part)
