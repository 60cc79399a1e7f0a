"""Everything that shoppers live in, built once from the data files, and the life of one shopper in it."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from workers.shop.behaviour import Behaviour
from workers.shop.catalogue import Shop
from workers.shop.click_model import ClickModel
from workers.shop.draws import Draws, Stream, running_sums
from workers.shop.event_log import EventLog
from workers.shop.logging_policy import Policy
from workers.shop.needs import NeedModel
from workers.shop.people import DAY_S, People
from workers.shop.queries import QueryBook, TypingHabits
from workers.shop.schema import DATA
from workers.shop.sessions import Visits
from workers.shop.shopper import Shopper

Nature = Literal["regular", "cold", "bot"]
_HOURS = running_sums([3, 2, 1, 1, 1, 2, 4, 7, 9, 10, 11, 12, 13, 12, 11, 11, 12, 13, 15, 18, 20, 19, 13, 7])
"""Running sums of visits by local hour: a valley at night, a peak in the evening."""
_HOUR_S = 3600.0
_NEW_SESSION_S = 1800.0
_MIN_LONG_GAP_S = 6 * _HOUR_S
_BOT_SEARCHES = (15, 70)
_BOT_PACE_S = 2.5


@dataclass(frozen=True, slots=True)
class World:
    """The shop and its people."""

    shop: Shop
    people: People
    book: QueryBook
    rates: Behaviour
    needs: NeedModel
    clicks: ClickModel

    @classmethod
    def read(cls, data: Path = DATA, shop: Shop | None = None) -> Self:
        """Return the world that the data files describe, around a `shop` read from them before, or a new one.

        A world remembers the queries made in it, so each run of the simulation takes a fresh one.

        Raises:
            ConfigError: a data file is wrong.
        """
        shop, rates = shop or Shop(data), Behaviour.read(data)
        people, book = People(data, shop), QueryBook(TypingHabits.read(data))
        return cls(shop, people, book, rates, NeedModel(data, shop, people, book, rates), ClickModel(rates))

    def visits(self, policy: Policy | None) -> Visits:
        """Return what plays sessions under a policy."""
        return Visits(self.needs, self.clicks, self.rates, policy)


def live(
    world: World, visits: Visits, key: tuple[int, Stream, int], span: tuple[float, float], log: EventLog
) -> tuple[Shopper, Nature]:
    """Play the life of shopper number `key[2]` of a (seed, stream) between two times (epoch seconds) into `log`."""
    draws, rates = Draws(*key), world.rates
    start, end = span
    profile = world.people.draw(draws, rates.consent_share)
    shopper = Shopper(
        user_id=f"s{key[2] + 1:07d}",
        profile=profile,
        draws=draws,
        habit=draws.uniform() ** 2,
        directness=draws.uniform() * 0.7,
        hint_liking=math.exp(0.5 * draws.normal()),
    )
    if draws.chance(rates.bot_share):
        _crawl(world, shopper, span, log)
        return shopper, "bot"
    cold = draws.chance(rates.cold_share)
    if draws.chance(rates.arrival_share):
        start = draws.between(start, end)
    pace = min(profile.segment.pace * math.exp(rates.pace_sigma * draws.normal()), rates.max_sessions_30d)
    world.needs.settle(shopper, start, end)
    if cold:
        ts = _daytime(shopper, draws.between(start, end))
        if span[0] <= ts < end:
            visits.play_cold(shopper, ts, log)
        return shopper, "cold"
    mean_gap = 30 * DAY_S / pace
    long_gap = (mean_gap - rates.quick_return_share * rates.quick_return_s) / (1 - rates.quick_return_share)
    ts = _daytime(shopper, start + draws.exponential(min(mean_gap, end - start)))
    while ts < end:
        if ts >= span[0]:
            ts = visits.play(shopper, ts, log)
        before = ts + _NEW_SESSION_S
        if draws.chance(rates.quick_return_share):
            ts = before + draws.exponential(rates.quick_return_s)
        else:
            ts = _daytime(shopper, before + draws.exponential(max(long_gap, _MIN_LONG_GAP_S)))
            while ts < before:
                ts += DAY_S
    return shopper, "regular"


def _daytime(shopper: Shopper, ts: float) -> float:
    """Move a time within its local day to an hour at which people shop."""
    local = ts + shopper.profile.region.utc_offset_s
    hour = shopper.draws.pick(_HOURS) + shopper.draws.uniform()
    return local - local % DAY_S + hour * _HOUR_S - shopper.profile.region.utc_offset_s


def _crawl(world: World, shopper: Shopper, span: tuple[float, float], log: EventLog) -> None:
    """Log a bot: many searches at an even pace, nothing opened."""
    draws = shopper.draws
    market = world.shop.markets[shopper.profile.locale]
    ts = draws.between(span[0], span[1] - DAY_S)
    shopper.sessions += 1
    log.begin(shopper.user_id, shopper.sessions)
    for _ in range(_BOT_SEARCHES[0] + draws.below(_BOT_SEARCHES[1] - _BOT_SEARCHES[0])):
        category = market[draws.below(len(market))]
        log.search(ts, world.book.product(category, draws.below(len(category.kinds) + 1) - 1).forms[0])
        ts += _BOT_PACE_S + 0.2 * draws.uniform()
