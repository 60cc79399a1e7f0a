"""The shop's categories, as the simulation uses them: one list a locale, linked by complements and substitutes."""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple

from service.contracts.text import near_key
from workers.shop.draws import running_sums
from workers.shop.items import Item, Listings, list_items
from workers.shop.schema import DATA, BrandEntry, CategoryEntry, DepartmentEntry, read_departments

GENERATOR_VERSION: Final = 2
"""Raise it when the same data and seed give other logs."""
ENGLISH: Final = "en-US"
CHINESE: Final = "zh-CN"
_VALUE_DECAY = 1.5
_AXIS_DECAY = 1.2


class Kind(NamedTuple):
    """A product type."""

    name: str
    weight: float
    words: tuple[str, ...]


class Axis(NamedTuple):
    """An attribute: its name and what it can be."""

    name: str
    values: tuple[str, ...]


@dataclass(slots=True, eq=False)
class Category:
    """A leaf category in one locale. Lists of weights are running sums, for `Draws.pick`."""

    index: int
    id: str
    locale: str
    path: str
    department: str
    group: str
    popularity: float
    brands: tuple[BrandEntry, ...]
    kinds: tuple[Kind, ...]
    head: tuple[str, ...]
    axes: tuple[Axis, ...]
    specs: tuple[str, ...]
    use_cases: tuple[str, ...]
    gift_for: tuple[str, ...]
    price: tuple[float, float]
    season: str | None
    repurchase_days: float | None
    complements: list["Category"] = field(default_factory=list)
    substitutes: list["Category"] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)
    by_kind: list[list[Item]] = field(default_factory=list)
    kind_sums: list[float] = field(default_factory=list)
    axis_sums: list[float] = field(default_factory=list)
    value_sums: list[list[float]] = field(default_factory=list)
    item_sums: list[list[float]] = field(default_factory=list)

    def stock(self, items: list[Item]) -> None:
        """Fill the shelves."""
        self.items = items
        self.by_kind = [[item for item in items if item.kind == kind] or items for kind in range(len(self.kinds))]
        self.kind_sums = running_sums([kind.weight for kind in self.kinds])
        self.axis_sums = running_sums([(n + 1) ** -_AXIS_DECAY for n in range(len(self.axes))])
        self.value_sums = [running_sums([(n + 1) ** -_VALUE_DECAY for n in range(len(a.values))]) for a in self.axes]
        self.item_sums = [running_sums([item.weight for item in shelf]) for shelf in self.by_kind]


class Shop:
    """The catalogue of every locale.

    Raises:
        ConfigError: a data file is wrong.
    """

    def __init__(self, data: Path = DATA) -> None:
        self.data = data
        departments = read_departments(data / "departments")
        listings = Listings.read(data)
        self.markets: dict[str, list[Category]] = {ENGLISH: [], CHINESE: []}
        for department in departments:
            for entry in department.categories:
                self._add(_english(department, entry))
                if entry.zh is not None:
                    self._add(_chinese(department, entry, listings))
        self._by_id = {(c.locale, c.id): c for market in self.markets.values() for c in market}
        entries = {entry.id: entry for department in departments for entry in department.categories}
        for category in self._by_id.values():
            entry = entries[category.id]
            category.complements = self._existing(category.locale, entry.complements)
            category.substitutes = self._existing(category.locale, entry.substitutes)
            category.stock(list_items(category, listings))

    def _add(self, category: Category) -> None:
        category.index = sum(len(market) for market in self.markets.values())
        self.markets[category.locale].append(category)

    def _existing(self, locale: str, ids: list[str]) -> list[Category]:
        return [self._by_id[locale, id_] for id_ in ids if (locale, id_) in self._by_id]

    def find(self, locale: str, category_id: str) -> Category | None:
        """Return a category; None where the locale does not have it."""
        return self._by_id.get((locale, category_id))

    def items(self) -> list[Item]:
        """Return every item, English first, in category order."""
        return [item for market in self.markets.values() for category in market for item in category.items]

    @cached_property
    def hash(self) -> str:
        """A digest of the data files, of the generator's version and of how texts are normalised."""
        digest = hashlib.blake2b(f"generator {GENERATOR_VERSION}".encode(), digest_size=16)
        # The logging policy removes near-duplicates, so what counts as one shapes the logs too.
        for item in self.items():
            digest.update(near_key(item.title).encode() + b"\0")
        for path in sorted(self.data.rglob("*.yaml")):
            digest.update(path.relative_to(self.data).as_posix().encode() + b"\0")
            digest.update(path.read_bytes() + b"\0")
        return digest.hexdigest()


def _english(department: DepartmentEntry, entry: CategoryEntry) -> Category:
    brands = {brand.name: brand for brand in department.brands}
    return Category(
        index=-1,
        id=entry.id,
        locale=ENGLISH,
        path=f"{department.name} > {entry.group} > {entry.name}",
        department=department.id,
        group=f"{department.id}/{entry.group}",
        popularity=entry.popularity,
        brands=tuple(brands[name] for name in entry.brands),
        kinds=tuple(Kind(kind.name, kind.weight, tuple(kind.words)) for kind in entry.types),
        head=tuple(entry.head),
        axes=tuple(Axis(name, tuple(values)) for name, values in entry.attributes.items()),
        specs=tuple(entry.specs),
        use_cases=tuple(entry.use_cases),
        gift_for=tuple(entry.gift_for),
        price=entry.price,
        season=entry.season,
        repurchase_days=entry.repurchase_days if entry.consumable else None,
    )


def _chinese(department: DepartmentEntry, entry: CategoryEntry, listings: Listings) -> Category:
    words = entry.zh
    if words is None:
        raise ValueError(f"{entry.id} has no Chinese words")
    category = _english(department, entry)
    category.locale = CHINESE
    category.path = f"{department.name_zh} > {words.name}"
    category.kinds = tuple(
        Kind(name, kind.weight, (name,)) for name, kind in zip(words.types, entry.types, strict=True)
    )
    category.head = tuple(words.head)
    category.axes = tuple(Axis(name, tuple(words.attributes[name])) for name in entry.attributes)
    category.specs = listings.zh_specs
    category.use_cases = tuple(words.use_cases)
    category.gift_for = ()
    return category
