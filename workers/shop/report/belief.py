"""A belief about a shopper from what the logs show: draws whole states that agree with it, for imagined futures.

It knows the shop's structure and rates, never the true state: what a query or a listing tells is taken over, the rest
is drawn from the simulation's own distributions. It is an approximation of the posterior, so a lower bound of what the
visible events allow.
"""

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from workers.shop.catalogue import Category
from workers.shop.draws import Draws, running_sums
from workers.shop.needs import LifeEvent
from workers.shop.people import DAY_S, Profile
from workers.shop.queries import NONE
from workers.shop.report.cases import Life
from workers.shop.report.evidence import Reader, Thread
from workers.shop.schema import read_yaml
from workers.shop.shopper import Interest, Need, Shopper, Taste
from workers.shop.world import World

_STEP: Final = 0.75
_STRENGTH_LEFT: Final = 0.88
_OPENED_STRENGTH: Final = 1.8
_TRAIL: Final = 6
_BRAND_OF_CLICK: Final = 0.6
_VALUE_OF_CLICK: Final = 0.45
_SEEN_PULL: Final = 3.0
"""How much more a category of an interest is liked for each need seen there."""
_EVENT_TAKEN: Final = 0.6
_STEPS_SEEN: Final = 2
"""One step of a life event is a need like any other."""
_MONTH_S: Final = 30 * DAY_S
_TRIES: Final = 4


class Beliefs:
    """Makes beliefs about shoppers of one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.reader = Reader(world.shop, world.book)
        self.groups: dict[tuple[str, str], list[Category]] = {}
        for locale, market in world.shop.markets.items():
            for category in market:
                self.groups.setdefault((locale, category.group), []).append(category)
        self.staples = {locale: [c for c in m if c.repurchase_days] for locale, m in world.shop.markets.items()}
        entries: list[dict[str, Any]] = read_yaml(world.shop.data / "life_events.yaml")
        self.life_events = [LifeEvent(**{**entry, "steps": tuple(entry["steps"])}) for entry in entries]


class Belief:
    """What can be known of one shopper at `ts`, the beginning of the next visit."""

    def __init__(self, beliefs: Beliefs, life: Life, profile: Profile, ts: float, shown: dict[str, int]) -> None:
        self._all, self._world, self._life, self._profile, self._ts = beliefs, beliefs.world, life, profile, ts
        self._shown = shown
        reader, acts = beliefs.reader, life.before
        self._threads = reader.threads(acts)
        self._trail = reader.trail(acts)[:_TRAIL]
        self._habit = running_sums(reader.habit(acts, beliefs.world.book.habits))
        self._searched = {act.query: act.ts for act in acts if act.query is not None}
        self._last_seen = acts[-1].ts if acts else -math.inf
        staples = beliefs.staples[profile.locale]
        self._staple_sums = running_sums([beliefs.world.people.wants(profile, c) for c in staples])
        self._events = list(self._begun())
        self._seen_groups = Counter[str]()
        for thread in self._threads.values():
            # A query may be understood as one of a category that is not sold in the shopper's language.
            if (profile.locale, thread.category.group) in beliefs.groups:
                self._seen_groups[thread.category.group] += thread.needs

    def draw(self, draws: Draws) -> Shopper:
        """Return a state that agrees with what was seen."""
        shopper = Shopper(
            user_id=self._life.user_id,
            profile=self._profile,
            draws=draws,
            habit=draws.pick(self._habit) / len(self._habit),
            directness=draws.uniform() * 0.7,
            hint_liking=math.exp(0.5 * draws.normal()),
            searched=dict(self._searched),
            shown=dict(self._shown),
            trail=list(self._trail),
        )
        for thread in self._threads.values():
            self._recall(shopper, thread)
        self._interests(shopper)
        self._staples(shopper)
        self._life_events(shopper)
        return shopper

    def _recall(self, shopper: Shopper, thread: Thread) -> None:
        """Give the shopper the taste, the open need and the purchases that a thread tells of."""
        category, rates, draws = thread.category, self._world.rates, shopper.draws
        need = self._wanted(shopper, thread)
        shopper.tastes[category.index] = Taste(need.kind, list(need.values), need.axes, need.brand, need.use, need.last)
        if thread.bought is not None:
            shopper.bought[category.index] = thread.bought
            shopper.favourites[category.department] = category.brands[need.brand].name
            self._after_purchase(shopper, thread, need)
        if thread.is_open and not any(draws.chance(rates.need_drop) for _ in range(thread.visits)):
            opened = any(
                other.bought is not None and category in other.category.complements for other in self._threads.values()
            )
            need.strength = (_OPENED_STRENGTH if opened else 1.0) * _STRENGTH_LEFT**thread.visits
            need.step = sum(draws.chance(_STEP) for _ in range(thread.searches)) + draws.chance(shopper.directness)
            shopper.needs.append(need)

    def _wanted(self, shopper: Shopper, thread: Thread) -> Need:
        """Return the need that a thread tells of, its unsaid parts drawn."""
        category, draws, clicked = thread.category, shopper.draws, thread.clicked
        need = self._world.needs.need(shopper, category, thread.touched, "seen", 1.0)
        if thread.kind != NONE or clicked is not None:
            need.kind = thread.kind if thread.kind != NONE or clicked is None else clicked.kind
        if thread.brand != NONE:
            need.brand = thread.brand
        elif clicked is not None and draws.chance(_BRAND_OF_CLICK):
            need.brand = clicked.brand
        if thread.use != NONE:
            need.use = thread.use
        if clicked is not None:
            for axis, value in enumerate(clicked.values):
                if draws.chance(_VALUE_OF_CLICK):
                    need.values[axis] = value
        for axis, value in thread.values.items():
            need.values[axis] = value
            shopper.traits[category.axes[axis].name] = category.axes[axis].values[value]
        said = [axis for axis, _ in thread.axes.most_common(2)]
        if said:
            rest = [axis for axis in need.axes if axis not in said]
            first, second = (said + rest + said)[:2]
            need.axes = (first, second)
        need.last, need.carted, need.seen = thread.last, thread.carted, clicked
        return need

    def _after_purchase(self, shopper: Shopper, thread: Thread, need: Need) -> None:
        category, rates, draws, bought = thread.category, self._world.rates, shopper.draws, thread.bought or 0.0
        for take, other in zip(rates.complement_take, category.complements, strict=False):
            seen = self._threads.get(other.index)
            if (seen is None or seen.touched < bought) and draws.chance(take):
                now = draws.chance(rates.complement_now)
                opens = bought + (0.0 if now else draws.exponential(rates.complement_days * DAY_S))
                shopper.schedule(self._world.needs.need(shopper, other, opens, "complement", _OPENED_STRENGTH))
        if category.repurchase_days and not thread.is_open:
            for _ in range(_TRIES):
                opens = bought + category.repurchase_days * DAY_S * math.exp(rates.repurchase_sigma * draws.normal())
                if opens > self._last_seen:  # It has not been asked for yet.
                    again = self._world.needs.need(shopper, category, opens, "repurchase", _OPENED_STRENGTH)
                    again.step, again.last, again.kind = len(rates.levels) - 1, need.last, need.kind
                    shopper.schedule(again)
                    break

    def _interests(self, shopper: Shopper) -> None:
        """Draw interests: areas where needs were seen, the more the likelier, and others as new shoppers have them."""
        draws, people = shopper.draws, self._world.people
        low, high = self._world.rates.interests
        wanted = low + draws.below(high - low + 1)
        for group, needs in self._seen_groups.most_common():
            if len(shopper.interests) >= high or not draws.chance(1 - 0.4**needs):
                continue
            categories = self._all.groups[self._profile.locale, group]
            liked = []
            for category in categories:
                thread = self._threads.get(category.index)
                pull = 1 + _SEEN_PULL * thread.needs if thread is not None else 1.0
                liked.append(people.wants(self._profile, category) * math.exp(draws.normal()) * pull)
            near = categories[liked.index(max(liked))].complements
            total = sum(liked)
            weights = liked + [0.12 * total / (n + 1) for n in range(len(near))]
            fade = draws.between(*self._world.rates.interest_fade_days) * DAY_S
            born = self._ts - draws.exponential(_MONTH_S)
            shopper.interests.append(Interest([*categories, *near], running_sums(weights), needs**0.5, born, fade))
        while len(shopper.interests) < wanted:
            born = self._ts - draws.exponential(_MONTH_S)
            shopper.interests.append(self._world.needs.interest(shopper, born))

    def _staples(self, shopper: Shopper) -> None:
        """Draw consumables that the shopper buys anyway and that ran out since the last act."""
        draws, staples = shopper.draws, self._all.staples[self._profile.locale]
        count = round(draws.exponential(self._world.rates.staples))
        for category in sorted({draws.pick(self._staple_sums) for _ in range(count)}):
            opens = self._ts - draws.uniform() * (staples[category].repurchase_days or 0.0) * DAY_S
            if staples[category].index not in self._threads and opens > self._last_seen:
                need = self._world.needs.need(shopper, staples[category], opens, "staple", 1.5)
                need.step = 1
                shopper.schedule(need)

    def _begun(self) -> Iterator[tuple[LifeEvent, int, list[Category]]]:
        """Yield life events of which steps were seen, with their number and the categories of the steps to come."""
        for event in self._all.life_events:
            found = [self._world.shop.find(self._profile.locale, step) for step in event.steps]
            seen = [n for n, category in enumerate(found) if category is not None and category.index in self._threads]
            if len(seen) >= _STEPS_SEEN:
                yield event, len(seen), [category for category in found[max(seen) + 1 :] if category is not None]

    def _life_events(self, shopper: Shopper) -> None:
        """Draw what follows in life events of which enough was seen."""
        draws = shopper.draws
        for event, seen, to_come in self._events:
            if not draws.chance(1 - 0.5 ** (seen - 1)):
                continue
            for category in to_come:
                if draws.chance(event.take * _EVENT_TAKEN):
                    opens = self._ts + DAY_S * event.days * (draws.uniform() - 0.5) / len(event.steps)
                    shopper.schedule(self._world.needs.need(shopper, category, opens, event.id, 1.6))
