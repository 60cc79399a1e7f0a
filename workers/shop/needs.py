"""How needs arise, are chosen, become queries, and lead to other needs.

This is what makes history predict the future: interests persist and fade; a need is asked for in ever more detail until
it is met; a purchase opens its complements, a consumable its next purchase; a life event opens a set of categories.
"""

import math
from heapq import heappop
from pathlib import Path
from typing import Any, NamedTuple

from workers.shop.behaviour import Behaviour
from workers.shop.catalogue import Category, Shop
from workers.shop.draws import running_sums
from workers.shop.items import Item
from workers.shop.people import DAY_S, People, Profile
from workers.shop.queries import NONE, Level, Query, QueryBook
from workers.shop.schema import read_yaml
from workers.shop.shopper import Interest, Need, Shopper, Taste

_MONTH_S = 30 * DAY_S
_RISE_S = 3 * DAY_S
_WEAK = 0.08
_SEASON_TRIES = 3
_CYCLE_SATED = 0.6
_SPICE = 1.4
"""Spread (log scale) of one shopper's liking among the categories of an interest."""


class LifeEvent(NamedTuple):
    """Something that happens and opens needs in order."""

    id: str
    chance_30d: float
    days: float
    take: float
    segments: dict[str, float]
    steps: tuple[str, ...]
    season: str | None = None


class NeedModel:
    """The dynamics of needs."""

    def __init__(self, data: Path, shop: Shop, people: People, book: QueryBook, rates: Behaviour) -> None:
        self.shop, self.people, self.book, self.rates = shop, people, book, rates
        entries: list[dict[str, Any]] = read_yaml(data / "life_events.yaml")
        self._life_events = [LifeEvent(**{**entry, "steps": tuple(entry["steps"])}) for entry in entries]
        self._groups: dict[str, list[list[Category]]] = {}
        self._group_sums: dict[tuple[str, str], list[float]] = {}
        self._staples: dict[str, list[Category]] = {}
        self._staple_sums: dict[tuple[str, str], list[float]] = {}
        for locale, market in shop.markets.items():
            groups: dict[str, list[Category]] = {}
            for category in market:
                groups.setdefault(category.group, []).append(category)
            self._groups[locale] = list(groups.values())
            self._staples[locale] = [c for c in market if c.repurchase_days]

    # Where needs come from

    def interest(self, shopper: Shopper, born: float) -> Interest:
        """Return a new interest, likely for the shopper's segment."""
        draws, profile = shopper.draws, shopper.profile
        groups = self._groups[profile.locale]
        key = (profile.segment.id, profile.locale)
        if key not in self._group_sums:
            self._group_sums[key] = running_sums([sum(self.people.wants(profile, c) for c in g) for g in groups])
        group = groups[draws.pick(self._group_sums[key])]
        if any(group[0] is interest.categories[0] for interest in shopper.interests):
            group = groups[draws.pick(self._group_sums[key])]
        liked = [self.people.wants(profile, c) * math.exp(_SPICE * draws.normal()) for c in group]
        near = group[liked.index(max(liked))].complements
        total = sum(liked)
        weights = liked + [0.12 * total / (n + 1) for n in range(len(near))]
        fade = draws.between(*self.rates.interest_fade_days) * DAY_S
        return Interest([*group, *near], running_sums(weights), math.exp(0.6 * draws.normal()), born, fade)

    def settle(self, shopper: Shopper, start: float, end: float) -> None:
        """Give a new shopper interests, staples and what life brings between `start` and `end`."""
        draws, rates = shopper.draws, self.rates
        low, high = rates.interests
        for _ in range(low + draws.below(high - low + 1)):
            shopper.interests.append(self.interest(shopper, start - draws.exponential(_MONTH_S)))
        later = draws.exponential(_MONTH_S / rates.new_interest_30d)
        while start + later < end:
            shopper.interests.append(self.interest(shopper, start + later))
            later += draws.exponential(_MONTH_S / rates.new_interest_30d)
        staples = self._staples[shopper.profile.locale]
        who = (shopper.profile.segment.id, shopper.profile.locale)
        if who not in self._staple_sums:
            self._staple_sums[who] = running_sums([self.people.wants(shopper.profile, c) for c in staples])
        sums = self._staple_sums[who]
        for category in sorted({draws.pick(sums) for _ in range(round(draws.exponential(rates.staples)))}):
            cycle = (staples[category].repurchase_days or 0.0) * DAY_S
            need = self.need(shopper, staples[category], start + draws.uniform() * cycle, "staple", 1.5)
            need.step = 1
            shopper.schedule(need)
        for event in self._life_events:
            self._live(shopper, event, start, end)

    def _live(self, shopper: Shopper, event: LifeEvent, start: float, end: float) -> None:
        draws, spread = shopper.draws, event.days * DAY_S
        chance = event.chance_30d * event.segments.get(shopper.profile.segment.id, 1.0)
        if event.season is None:
            # Some are in the middle of it when the period begins.
            chance *= (end - start + spread) / _MONTH_S
            when = start - spread + draws.uniform() * (end - start + spread)
        else:
            when = start + draws.uniform() * (end - start)
            chance *= (end - start) / _MONTH_S * self.people.occasions[event.season].closeness(when) * 2
        if not draws.chance(min(chance, 0.9)):
            return
        shopper.life_events.append(event.id)
        for n, category_id in enumerate(event.steps):
            opens = when + spread * (n + draws.uniform()) / len(event.steps)
            category = self.shop.find(shopper.profile.locale, category_id)
            if draws.chance(event.take) and category is not None and start <= opens < end:
                shopper.schedule(self.need(shopper, category, opens, event.id, 1.6))

    def need(self, shopper: Shopper, category: Category, opens: float, origin: str, strength: float) -> Need:
        """Return a new need in a category, after the shopper's tastes where there are any."""
        draws, rates = shopper.draws, self.rates
        known = shopper.tastes.get(category.index)
        if known is not None and draws.chance(rates.reuse_taste):
            need = Need(
                category, known.kind, list(known.values), known.axes, known.brand, known.use, strength, opens, origin,
                opens,
            )  # fmt: skip
            if draws.chance(rates.old_query_share):
                need.last = known.last
        else:
            first = draws.pick(category.axis_sums)
            count = len(category.axes)
            second = (first + 1 + draws.below(count - 1)) % count if count > 1 else first
            values = [self._value(shopper, category, axis) for axis in range(len(category.axes))]
            kind, use = draws.pick(category.kind_sums), draws.below(len(category.use_cases))
            brand = self._brand(shopper, category)
            need = Need(category, kind, values, (first, second), brand, use, strength, opens, origin, opens)
        shopper.tastes[category.index] = Taste(need.kind, need.values, need.axes, need.brand, need.use, need.last)
        if draws.chance(shopper.directness):
            need.step = 1
        return need

    def _value(self, shopper: Shopper, category: Category, axis: int) -> int:
        name, values = category.axes[axis]
        trait = shopper.traits.get(name)
        if trait in values and shopper.draws.chance(self.rates.trait_share):
            return values.index(trait)
        value = shopper.draws.pick(category.value_sums[axis])
        shopper.traits.setdefault(name, values[value])
        return value

    def _brand(self, shopper: Shopper, category: Category) -> int:
        favourite = shopper.favourites.get(category.department)
        if favourite is not None and shopper.draws.chance(self.rates.favourite_brand_share):
            for n, brand in enumerate(category.brands):
                if brand.name == favourite:
                    return n
        brand_index = shopper.draws.pick(self.people.brands(category, shopper.profile.budget))
        shopper.favourites.setdefault(category.department, category.brands[brand_index].name)
        return brand_index

    def arise(self, shopper: Shopper, ts: float) -> Need:
        """Return a need that comes up now: from an interest, or from what the season and the segment shop for."""
        draws, profile = shopper.draws, shopper.profile
        alive = [i for i in shopper.interests if i.born <= ts] if draws.chance(self.rates.from_interest) else []
        if alive:
            interest = alive[draws.pick(running_sums([interest_level(i, ts) for i in alive]))]
            for _ in range(_SEASON_TRIES):
                category = interest.categories[draws.pick(interest.sums)]
                in_season = draws.chance(self.people.lift(category.season, profile.region, ts))
                if in_season and not sated(shopper, category, ts):
                    break
            origin = "interest"
        else:
            for _ in range(_SEASON_TRIES):
                category = self.shop.markets[profile.locale][draws.pick(self.people.popular(profile, ts))]
                if not sated(shopper, category, ts):
                    break
            origin = "season"
        need = self.need(shopper, category, ts, origin, 1.0)
        if category.gift_for and draws.chance(self.gift_share(profile, ts)):
            need.audience, need.step = draws.below(len(category.gift_for)), 0
        return need

    def gift_share(self, profile: Profile, ts: float) -> float:
        """Return the share of needs that are gifts."""
        return min(profile.segment.gift * self.people.gift_lift(ts), 0.5)

    # How needs are chosen and end

    def choose(self, shopper: Shopper, ts: float) -> Need:
        """Return what the shopper turns to now: an open need, or a new one."""
        while shopper.pending and shopper.pending[0][0] <= ts:
            need = heappop(shopper.pending)[2]
            # Still at home, or looked for already: one need a category.
            if not sated(shopper, need.category, ts):
                shopper.needs = [other for other in shopper.needs if other.category is not need.category]
                shopper.needs.append(need)
        tau = self.rates.need_tau_days * DAY_S
        weights = [need.strength * math.exp((need.touched - ts) / tau) for need in shopper.needs]
        alive = [(need, weight) for need, weight in zip(shopper.needs, weights, strict=True) if weight > _WEAK]
        shopper.needs = [need for need, _ in alive][-self.rates.max_needs :]
        sums = running_sums([*[weight for _, weight in alive][-self.rates.max_needs :], self.rates.new_need_weight])
        chosen = shopper.draws.pick(sums)
        if chosen < len(shopper.needs):
            return shopper.needs[chosen]
        need = self.arise(shopper, ts)
        for known in shopper.needs:
            if known.category is need.category:
                return known
        shopper.needs.append(need)
        return need

    def from_query(self, shopper: Shopper, query: Query, ts: float) -> Need:
        """Return the need that a clicked hint speaks to: the open one of its category, else a new one."""
        for need in shopper.needs:
            if need.category is query.category:
                break
        else:
            need = self.need(shopper, query.category, ts, "hint", 1.0)
            shopper.needs.append(need)
        if query.kind != NONE:
            need.kind = query.kind
        if query.brand != NONE:
            need.brand = query.brand
        for axis, value in query.values:
            need.values[axis] = value
        need.touched = ts
        return need

    def met(self, shopper: Shopper, need: Need, item: Item, ts: float) -> None:
        """End a need by a purchase: it opens complements for a while, and a consumable's next purchase."""
        draws, rates, category = shopper.draws, self.rates, need.category
        shopper.needs = [other for other in shopper.needs if other.category is not category]
        shopper.bought[category.index] = ts
        shopper.favourites[category.department] = category.brands[item.brand].name
        shopper.tastes[category.index] = Taste(item.kind, list(item.values), need.axes, item.brand, need.use, need.last)
        for take, other in zip(rates.complement_take, category.complements, strict=False):
            if draws.chance(take) and not sated(shopper, other, ts):
                wait = 0.0 if draws.chance(rates.complement_now) else draws.exponential(rates.complement_days * DAY_S)
                shopper.schedule(self.need(shopper, other, ts + wait, "complement", 1.8))
        if category.repurchase_days:
            wait = category.repurchase_days * DAY_S * math.exp(rates.repurchase_sigma * draws.normal())
            again = self.need(shopper, category, ts + wait, "repurchase", 1.8)
            again.step, again.last, again.kind = len(rates.levels) - 1, need.last, item.kind
            shopper.schedule(again)

    # How a need becomes a query

    def query(self, shopper: Shopper, need: Need) -> Query:
        """Return what the shopper asks now, in ever more detail."""
        draws, category, book = shopper.draws, need.category, self.book
        if need.audience != NONE and need.step == 0:
            return book.gift(category, need.audience)
        step = min(need.step, len(self.rates.levels) - 1)
        levels, sums = self.rates.levels[step]
        level = levels[draws.pick(sums)]
        kind = need.kind if draws.chance(self.rates.kind_said[step]) else NONE
        axis = need.axes[0] if draws.chance(self.rates.first_axis) else need.axes[1]
        query = book.product(category, NONE if level is Level.PRODUCT else need.kind)
        match level:
            case Level.ATTRIBUTE:
                query = book.attribute(category, kind, axis, need.values[axis])
            case Level.TWO if need.axes[0] != need.axes[1]:
                first, second = need.axes
                query = book.two(category, kind, (first, need.values[first]), (second, need.values[second]))
            case Level.USE:
                query = book.use(category, kind, need.use)
            case Level.BRAND:
                query = book.brand(category, kind, need.brand)
            case Level.PRICE:
                query = book.price(category, kind, draws.below(3))
            case Level.MODEL if need.seen is not None:
                query = book.model(need.seen)
        return query


def sated(shopper: Shopper, category: Category, ts: float) -> bool:
    """Whether the shopper bought in this category so lately that nothing is wanted there."""
    enough = _CYCLE_SATED * category.repurchase_days * DAY_S if category.repurchase_days else _MONTH_S
    return ts - shopper.bought.get(category.index, -math.inf) < enough


def interest_level(interest: Interest, ts: float) -> float:
    """Return an interest's strength now: it rises within days and fades over weeks."""
    age = ts - interest.born
    if age < 0:
        return 0.0
    return interest.strength * (1 - math.exp(-(age + 1) / _RISE_S)) * math.exp(-age / interest.fade_s)
