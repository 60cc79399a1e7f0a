"""Who shops: segments, budgets, regions and locales; and when demand moves: occasions."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from workers.shop.catalogue import Category, Shop
from workers.shop.draws import Draws, running_sums
from workers.shop.schema import read_yaml

DAY_S = 86400.0
_WEEK_S = 7 * DAY_S
_YEAR_DAYS = 365.25
_BRAND_DECAY = 1.5
_HEAD = 5.0
"""How much more is shopped for in popular categories than their figures say."""


class Segment(NamedTuple):
    """A kind of shopper; `pace` is the median number of sessions in 30 days."""

    id: str
    pace: float
    gift: float
    budgets: tuple[str, ...]
    budget_sums: list[float]
    departments: dict[str, float]


class Region(NamedTuple):
    """Where a shopper lives; `climate` multiplies seasons' lifts."""

    id: str
    utc_offset_s: float
    climate: dict[str, float]


class Occasion(NamedTuple):
    """A season or a feast: demand is `trough` far from its peak and `lift` at it."""

    id: str
    month: int
    day: int
    width_days: float
    lift: float
    trough: float
    gift_lift: float

    def closeness(self, ts: float) -> float:
        """Return how near `ts` is to the peak: 1 at it, 0 far from it."""
        now = datetime.fromtimestamp(ts, UTC)
        apart = abs((now - datetime(now.year, self.month, self.day, tzinfo=UTC)) / timedelta(days=1))
        apart = min(apart, _YEAR_DAYS - apart)
        return math.exp(-0.5 * (apart / self.width_days * 2) ** 2)


@dataclass(frozen=True, slots=True)
class Profile:
    """What the shop knows of a shopper."""

    segment: Segment
    budget: str
    region: Region
    locale: str
    consent: bool


class People:
    """Draws profiles, and says what a segment wants in a region at a time."""

    def __init__(self, data: Path, shop: Shop) -> None:
        content: dict[str, Any] = read_yaml(data / "segments.yaml")
        self.shop = shop
        self.segments = [
            Segment(
                s["id"], s["pace"], s["gift"], tuple(s["budget"]), running_sums(list(s["budget"].values())),
                s["departments"],
            )
            for s in content["segments"]
        ]  # fmt: skip
        self._segment_sums = running_sums([s["share"] for s in content["segments"]])
        self.regions = [Region(r["id"], r["utc_offset_h"] * 3600.0, r["climate"]) for r in content["regions"]]
        self._region_sums = running_sums([r["share"] for r in content["regions"]])
        self.locales = [entry["id"] for entry in content["locales"]]
        self._locale_sums = running_sums([entry["share"] for entry in content["locales"]])
        self._tier_by_budget: dict[str, dict[str, float]] = content["tier_by_budget"]
        self.occasions: dict[str, Occasion] = {}
        for entry in read_yaml(data / "occasions.yaml"):
            month, day = map(int, entry.pop("peak").split("-"))
            self.occasions[entry["id"]] = Occasion(month=month, day=day, **entry)
        self._lifts: dict[tuple[str, str, int], float] = {}
        self._popular: dict[tuple[str, str, str, int], list[float]] = {}
        self._brands: dict[tuple[int, str], list[float]] = {}
        self._gifts: dict[int, float] = {}

    def draw(self, draws: Draws, consent_share: float) -> Profile:
        """Return a new shopper's profile."""
        segment = self.segments[draws.pick(self._segment_sums)]
        return Profile(
            segment=segment,
            budget=segment.budgets[draws.pick(segment.budget_sums)],
            region=self.regions[draws.pick(self._region_sums)],
            locale=self.locales[draws.pick(self._locale_sums)],
            consent=draws.chance(consent_share),
        )

    def lift(self, season: str | None, region: Region, ts: float) -> float:
        """Return what a season makes of the demand for its categories."""
        if season is None:
            return 1.0
        week = int(ts // _WEEK_S)
        key = (season, region.id, week)
        if key not in self._lifts:
            occasion = self.occasions[season]
            near = occasion.closeness((week + 0.5) * _WEEK_S)
            lifted = occasion.trough + (occasion.lift * region.climate.get(season, 1.0) - occasion.trough) * near
            self._lifts[key] = max(lifted, 0.05)
        return self._lifts[key]

    def gift_lift(self, ts: float) -> float:
        """Return what the next feast makes of the share of gift searches."""
        week = int(ts // _WEEK_S)
        if week not in self._gifts:
            middle = (week + 0.5) * _WEEK_S
            self._gifts[week] = max(1 + (o.gift_lift - 1) * o.closeness(middle) for o in self.occasions.values())
        return self._gifts[week]

    def wants(self, profile: Profile, category: Category) -> float:
        """Return the segment's demand for a category, seasons left out."""
        return math.pow(category.popularity, _HEAD) * profile.segment.departments.get(category.department, 1.0)

    def popular(self, profile: Profile, ts: float) -> list[float]:
        """Return the running sums of demand over the categories of the profile's locale in the week of `ts`."""
        key = (profile.segment.id, profile.region.id, profile.locale, int(ts // _WEEK_S))
        if key not in self._popular:
            market = self.shop.markets[profile.locale]
            self._popular[key] = running_sums(
                [self.wants(profile, c) * self.lift(c.season, profile.region, ts) for c in market]
            )
        return self._popular[key]

    def brands(self, category: Category, budget: str) -> list[float]:
        """Return the running sums of a budget's liking for a category's brands."""
        key = (category.index, budget)
        if key not in self._brands:
            liking = self._tier_by_budget[budget]
            self._brands[key] = running_sums(
                [liking[brand.tier] * (n + 1) ** -_BRAND_DECAY for n, brand in enumerate(category.brands)]
            )
        return self._brands[key]
