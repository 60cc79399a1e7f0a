"""The click model of hints: P(click) = examination of the slot x attraction of the query for this shopper now.

attraction = liking x (curiosity + need and interest x relevance) x novelty x fatigue, at most `_MOST`.
The first slot that would be clicked is, so a lower slot's marginal chance has those above in it.
Nothing of this is in the logs; `truth/` has it, for judges.
"""

from typing import NamedTuple

from workers.shop.behaviour import Behaviour
from workers.shop.needs import interest_level
from workers.shop.people import DAY_S
from workers.shop.queries import NONE, Query
from workers.shop.shopper import Need, Shopper

_MOST = 0.9
_STALE_S = 2 * DAY_S
_SATISFIED_S = 14 * DAY_S


class Slot(NamedTuple):
    """The truth about one shown hint: `click` is the marginal chance of a click on it."""

    examine: float
    attraction: float
    click: float


class ClickModel:
    """Computes true click probabilities from a shopper's true state."""

    def __init__(self, rates: Behaviour) -> None:
        self.rates = rates

    def slots(self, shopper: Shopper, hints: list[tuple[str, Query]], ts: float) -> list[Slot]:
        """Return the truth by slot, first slot first; `hints` are (text, what it means)."""
        found, untouched = [], 1.0
        for examine, (text, query) in zip(self.rates.examine, hints, strict=False):
            attraction = self.attraction(shopper, text, query, ts)
            click = examine * attraction
            found.append(Slot(examine, attraction, untouched * click))
            untouched *= 1 - click
        return found

    def attraction(self, shopper: Shopper, text: str, query: Query, ts: float) -> float:
        """Return the chance that an examined hint is clicked."""
        rates = self.rates
        category = query.category
        pull = rates.curiosity
        for need in shopper.needs:
            if need.category is category:
                pull += rates.attraction_need * min(need.strength, 1.0) * self.relevance(need, query)
                break
        for interest in shopper.interests:
            if category in interest.categories:
                pull += rates.attraction_interest * min(interest_level(interest, ts), 1.0)
                break
        if ts - shopper.searched.get(text, -_STALE_S) < _STALE_S:
            pull *= rates.stale
        if category.repurchase_days is None and ts - shopper.bought.get(category.index, -_SATISFIED_S) < _SATISFIED_S:
            pull *= rates.satisfied
        pull *= shopper.hint_liking * rates.fatigue ** shopper.shown.get(text, 0)
        return min(pull, _MOST)

    def relevance(self, need: Need, query: Query) -> float:
        """Return in (0, 1] how well what a query says fits a need of its category."""
        relevance = 1.0
        if query.kind not in (NONE, need.kind):
            relevance *= self.rates.other_kind
        if query.brand not in (NONE, need.brand):
            relevance *= self.rates.wrong_detail
        for axis, value in query.values:
            if need.values[axis] != value:
                relevance *= self.rates.wrong_detail
        return relevance
