"""Who shops, and what they need: interests that rise and fade, needs that purchases and life events open."""

from dataclasses import dataclass, field

import numpy as np

from workers.shop.catalogue import Catalogue, Category

SEGMENTS: dict[str, dict[str, float]] = {
    "young parent": {"baby": 6, "toys": 3, "grocery": 2, "home": 2, "kitchen": 2},
    "tech fan": {"electronics": 6, "computers": 6, "office": 1.5},
    "outdoor fan": {"outdoors": 7, "fitness": 3, "automotive": 1.5},
    "home maker": {"home": 5, "kitchen": 5, "furniture": 4, "garden": 2},
    "style seeker": {"womens-fashion": 6, "beauty": 5, "mens-fashion": 1},
    "gentleman": {"mens-fashion": 6, "electronics": 2, "automotive": 2, "grocery": 1.5},
    "pet owner": {"pets": 7, "home": 1.5, "garden": 1.5},
    "student": {"office": 4, "computers": 4, "grocery": 2, "fitness": 2},
    "handy gardener": {"garden": 6, "automotive": 3, "outdoors": 1.5},
}
BUDGETS = ("low", "mid", "high")
REGIONS = ("north", "south", "east", "west")
ZH_SHARE = 0.08
COLD_SHARE = 0.12
# Life events open a set of related needs at once.
LIFE_EVENTS: tuple[tuple[str, ...], ...] = (
    ("diapers", "strollers", "cribs", "car-seats", "baby-bottles", "baby-monitors"),
    ("sofas", "bedding", "curtains", "saucepans", "bed-frames", "table-lamps"),
    ("dog-food", "dog-beds", "dog-leashes", "dog-toys", "pet-carriers"),
    ("running-shoes", "running-shorts", "fitness-trackers", "foam-rollers", "protein-powder"),
    ("tents", "sleeping-bags", "camping-stoves", "coolers", "backpacks"),
    ("backpacks-school", "notebooks", "laptops", "calculators", "desk-organizers"),
    ("standing-desks", "desk-chairs", "monitors", "keyboards", "webcams"),
    ("cat-food", "cat-litter", "cat-trees", "cat-toys"),
)
SEASON_MONTHS: dict[str, tuple[int, ...]] = {
    "spring": (3, 4, 5), "summer": (6, 7, 8), "autumn": (9, 10, 11), "winter": (12, 1, 2), "back_to_school": (8, 9),
    "christmas": (11, 12), "halloween": (10,), "valentines": (2,), "mothers_day": (5,),
}  # fmt: skip
_OUT_OF_SEASON = 0.3
_LIFE_EVENT_SHARE = 0.25
_DAY = 86400.0
_OTHER_DEPARTMENT = 0.35


@dataclass(slots=True)
class Need:
    """One thing that a shopper is after: what, how much, since when, and how far the search has come."""

    category: Category
    type_index: int
    value: str
    brand: str
    strength: float
    born: float
    half_life: float
    stage: int = 0


@dataclass(slots=True)
class Shopper:
    """A shopper with a profile and needs."""

    user_id: str
    segment: str
    budget: str
    region: str
    locale: str
    cold: bool
    brands: dict[str, str] = field(default_factory=dict)
    needs: list[Need] = field(default_factory=list)


def new_shopper(
    number: int, catalogue: Catalogue, start: float, end: float, month: int, rng: np.random.Generator
) -> Shopper:
    """Return a shopper as of `start` (epoch s), with the needs that will open until `end`."""
    shopper = Shopper(
        user_id=f"s{number:07d}",
        segment=list(SEGMENTS)[int(rng.integers(len(SEGMENTS)))],
        budget=BUDGETS[int(rng.choice(3, p=(0.35, 0.45, 0.2)))],
        region=REGIONS[int(rng.integers(len(REGIONS)))],
        locale="zh" if rng.random() < ZH_SHARE else "en",
        cold=bool(rng.random() < COLD_SHARE),
    )
    pool, weights = demand(catalogue, shopper.segment, shopper.locale, month)
    for _ in range(int(rng.integers(2, 5))):
        category = catalogue.categories[pool[int(np.searchsorted(weights, rng.random()))]]
        born = start - _DAY * 10 + rng.random() * (end - start + _DAY * 8)
        open_need(shopper, category, born, 0.4 + rng.random(), rng)
    if rng.random() < _LIFE_EVENT_SHARE:
        happens = start + rng.random() * (end - start)
        for identity in LIFE_EVENTS[int(rng.integers(len(LIFE_EVENTS)))]:
            if rng.random() < 0.7 and (local := _localised(catalogue, identity, shopper.locale)) is not None:
                open_need(shopper, local, happens + rng.exponential(3 * _DAY), 0.8 + rng.random(), rng)
    return shopper


def demand(catalogue: Catalogue, segment: str, locale: str, month: int) -> tuple[list[str], np.ndarray]:
    """Return category ids and the cumulative distribution of what a segment comes to want in a month."""
    key = (id(catalogue), segment, locale, month)
    if key not in _demand_cache:
        pool = [c for c in catalogue.categories.values() if c.locale == locale]
        weights = np.array(
            [
                c.popularity
                * SEGMENTS[segment].get(c.department, _OTHER_DEPARTMENT)
                * (1.0 if c.season is None or month in SEASON_MONTHS[c.season] else _OUT_OF_SEASON)
                for c in pool
            ]
        )
        _demand_cache[key] = ([c.id for c in pool], np.cumsum(weights) / weights.sum())
    return _demand_cache[key]


_demand_cache: dict[tuple[int, str, str, int], tuple[list[str], np.ndarray]] = {}


def open_need(shopper: Shopper, category: Category, born: float, strength: float, rng: np.random.Generator) -> None:
    """Give the shopper a need, unless there is one of this category already; brand loyalty is by department."""
    if any(need.category.id == category.id for need in shopper.needs):
        return
    weights = np.array([t.weight for t in category.types])
    axes = list(category.attributes.values())
    axis = axes[int(rng.integers(len(axes)))] if axes else ("",)
    loyal = shopper.brands.get(category.department)
    known = [brand for brand, _ in category.brands]
    brand = loyal if loyal in known and rng.random() < 0.7 else known[int(rng.integers(len(known)))]
    shopper.brands.setdefault(category.department, brand)
    shopper.needs.append(
        Need(
            category=category,
            type_index=int(rng.choice(len(weights), p=weights / weights.sum())),
            value=axis[int(rng.integers(len(axis)))],
            brand=brand,
            strength=strength,
            born=born,
            half_life=_DAY * (4 + 10 * rng.random()),
        )
    )


def after_purchase(shopper: Shopper, need: Need, catalogue: Catalogue, now: float, rng: np.random.Generator) -> None:
    """A purchase ends its need (a consumable returns) and opens what goes with it."""
    if need.category.repurchase_days:
        need.born = now + _DAY * need.category.repurchase_days * (0.7 + 0.6 * rng.random())
        need.stage = 1
    else:
        need.strength *= 0.05
    for identity in need.category.complements:
        if rng.random() < 0.6 and (category := catalogue.categories.get(identity)) is not None:
            open_need(shopper, category, now + rng.exponential(1.5 * _DAY), 0.9 + 0.6 * rng.random(), rng)


def _localised(catalogue: Catalogue, identity: str, locale: str) -> Category | None:
    return catalogue.categories.get(identity if locale == "en" else f"{identity}@zh")
