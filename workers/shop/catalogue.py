"""The sample shop's catalogue, made from the data files alone: the same for every seed of shoppers."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import yaml

ITEMS_PER_CATEGORY = 42
ITEMS_PER_ZH_CATEGORY = 14
_TIER_PRICE = {"value": 0.75, "mid": 1.0, "premium": 1.45}
_ALWAYS_SHOWN_AXES = 2


@dataclass(frozen=True, slots=True)
class ProductType:
    """What a product is; `words` is how shoppers type it, head first."""

    name: str
    weight: float
    words: Sequence[str]


@dataclass(frozen=True, slots=True)
class Item:
    """A listing. `attributes` maps axis to value."""

    item_id: str
    title: str
    category: "Category"
    type_index: int
    attributes: Mapping[str, str]
    brand: str
    tier: str
    price: float
    seller_id: str


@dataclass(frozen=True, slots=True)
class Category:
    """A leaf category in one locale; a zh-CN twin has the id `<id>@zh`."""

    id: str
    locale: str
    path: str
    department: str
    popularity: float
    brands: Sequence[tuple[str, str]]
    types: Sequence[ProductType]
    head: Sequence[str]
    attributes: Mapping[str, Sequence[str]]
    specs: Sequence[str]
    use_cases: Sequence[str]
    gift_for: Sequence[str]
    price: tuple[float, float]
    season: str | None
    repurchase_days: int | None
    complements: Sequence[str]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Categories by id, and each category's items."""

    categories: Mapping[str, Category]
    items: Mapping[str, Sequence[Item]]

    @property
    def digest(self) -> str:
        """The hash that tags the shop: a change of the data files changes it."""
        return _digest()


def _sources() -> list[tuple[str, bytes]]:
    folder = files("workers.shop").joinpath("data", "departments")
    return sorted((entry.name, entry.read_bytes()) for entry in folder.iterdir() if entry.name.endswith(".yaml"))


@cache
def _digest() -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name, content in _sources():
        digest.update(name.encode())
        digest.update(content)
    return digest.hexdigest()


@cache
def load() -> Catalogue:
    """Return the catalogue."""
    categories: dict[str, Category] = {}
    for _, content in _sources():
        department = yaml.safe_load(content)
        tiers = {brand["name"]: brand["tier"] for brand in department["brands"]}
        for raw in department["categories"]:
            for category in _categories(department, raw, tiers):
                categories[category.id] = category
    return Catalogue(categories, {category.id: _items(category) for category in categories.values()})


def _categories(department: Mapping[str, Any], raw: Mapping[str, Any], tiers: Mapping[str, str]) -> list[Category]:
    types = tuple(ProductType(t["name"], float(t["weight"]), tuple(t["words"])) for t in raw["types"])
    english = Category(
        id=raw["id"],
        locale="en",
        path=f"{department['name']} > {raw['group']} > {raw['name']}",
        department=department["id"],
        popularity=float(raw["popularity"]),
        brands=tuple((brand, tiers[brand]) for brand in raw["brands"]),
        types=types,
        head=tuple(raw["head"]),
        attributes={axis: tuple(map(str, values)) for axis, values in raw["attributes"].items()},
        specs=tuple(raw["specs"]),
        use_cases=tuple(raw["use_cases"]),
        gift_for=tuple(raw.get("gift_for") or ()),
        price=(float(raw["price"][0]), float(raw["price"][1])),
        season=raw.get("season"),
        repurchase_days=raw.get("repurchase_days") if raw.get("consumable") else None,
        complements=tuple(raw["complements"]),
    )
    zh = raw.get("zh")
    if not zh:
        return [english]
    chinese = Category(
        id=f"{raw['id']}@zh",
        locale="zh",
        path=f"{department['name_zh']} > {zh['name']}",
        department=department["id"],
        popularity=english.popularity,
        brands=english.brands,
        types=tuple(ProductType(n, t.weight, (n,)) for n, t in zip(zh["types"], types, strict=True)),
        head=tuple(zh["head"]),
        attributes={axis: tuple(map(str, values)) for axis, values in zh["attributes"].items()},
        specs=(),
        use_cases=tuple(zh["use_cases"]),
        gift_for=(),
        price=english.price,
        season=english.season,
        repurchase_days=english.repurchase_days,
        complements=tuple(f"{other}@zh" for other in english.complements),
    )
    return [english, chinese]


def _items(category: Category) -> list[Item]:
    """Return a category's listings, from a generator of its own, so that one category's edit leaves others alone."""
    seed = int.from_bytes(hashlib.blake2b(category.id.encode(), digest_size=8).digest())
    rng = np.random.default_rng(seed)
    weights = np.array([t.weight for t in category.types])
    weights = weights / weights.sum()
    low, high = np.log(category.price)
    base = category.id.removesuffix("@zh")
    mark = "zh" if category.locale == "zh" else ""
    items = []
    for index in range(ITEMS_PER_ZH_CATEGORY if category.locale == "zh" else ITEMS_PER_CATEGORY):
        # Every type is on offer at least once, the rest by weight.
        kind = index if index < len(weights) else int(rng.choice(len(weights), p=weights))
        brand, tier = category.brands[int(rng.integers(len(category.brands)))]
        attributes = {axis: values[int(rng.integers(len(values)))] for axis, values in category.attributes.items()}
        price = float(np.exp(rng.triangular(low, (low + high) / 2, high))) * _TIER_PRICE[tier]
        items.append(
            Item(
                item_id=f"{category.department[:4]}-{base}-{mark}{index:04d}",
                title=_title(category, kind, brand, attributes, index, rng),
                category=category,
                type_index=kind,
                attributes=attributes,
                brand=brand,
                tier=tier,
                price=round(price, 2),
                seller_id=f"seller{int(rng.zipf(1.6)) % 400:03d}",
            )
        )
    return items


def _title(
    category: Category, kind: int, brand: str, attributes: Mapping[str, str], index: int, rng: np.random.Generator
) -> str:
    values = list(attributes.values())
    name = category.types[kind].name
    if category.locale == "zh":
        return f"{brand} {''.join(values[:_ALWAYS_SHOWN_AXES])}{name} {category.use_cases[index % len(category.use_cases)]}"
    model = f" {chr(65 + index % 26)}{int(rng.integers(10, 99))}" if rng.random() < 0.3 else ""
    front = " ".join(value.title() for value in values[:_ALWAYS_SHOWN_AXES])
    rest = f", {', '.join(value.title() for value in values[_ALWAYS_SHOWN_AXES:])}" if rng.random() < 0.5 else ""
    if len(values) <= _ALWAYS_SHOWN_AXES:
        rest = ""
    spec = f", {category.specs[int(rng.integers(len(category.specs)))]}" if rng.random() < 0.7 else ""
    return f"{brand}{model} {front} {name.title()}{rest}{spec}"
