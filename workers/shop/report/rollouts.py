"""Suggest what a shopper searches in most of many imagined futures: the simulation plays on from a state."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence

from workers.shop.behaviour import Behaviour
from workers.shop.click_model import Slot
from workers.shop.draws import Draws
from workers.shop.event_log import EventLog
from workers.shop.logging_policy import Served
from workers.shop.people import DAY_S
from workers.shop.report.cases import AHEAD, SUGGESTED, same
from workers.shop.sessions import Visits
from workers.shop.shopper import Shopper

_MOST_VISITS = 8
_LEAST = 2
"""What one future alone holds is chance."""


class _Enough(Exception):
    """The future is known as far as it matters."""


class _Searches(EventLog):
    """Keeps searches only, and ends the future with the last that counts."""

    __slots__ = ("texts",)

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def search(self, ts: float, query: str) -> None:  # noqa: ARG002
        self.texts.append(same(query))
        if len(self.texts) == AHEAD:
            raise _Enough

    def item(self, *_: object, **__: object) -> None:
        """Not needed."""

    def exposure(self, ts: float, request_id: str, served: Served, slots: list[Slot]) -> None:
        """Not needed."""

    def hint_click(self, ts: float, request_id: str, position: int, query: str) -> None:
        """Not needed."""


def future(visits: Visits, shopper: Shopper, ts: float) -> list[str]:
    """Return the next searches (normalised) of one future that begins with a visit at `ts`; changes `shopper`."""
    log = _Searches()
    try:
        for _ in range(_MOST_VISITS):
            ts = visits.play(shopper, ts, log)
            ts += _until_next(shopper, visits.rates)
    except _Enough:
        pass  # That is how most futures end.
    return log.texts


def _until_next(shopper: Shopper, rates: Behaviour) -> float:
    if shopper.draws.chance(rates.quick_return_share):
        return shopper.draws.exponential(rates.quick_return_s)
    return shopper.draws.exponential(30 * DAY_S / shopper.profile.segment.pace)


def foresee(visits: Visits, state: Callable[[Draws], Shopper], ts: float, draws: Draws, futures: int) -> list[set[str]]:
    """Return the next searches in each future; `state` gives a fresh copy of what is known of the shopper."""
    return [set(future(visits, state(draws), ts)) for _ in range(futures)]


def cover(futures: Sequence[Collection[str]]) -> list[str]:
    """Return up to `SUGGESTED` queries, chosen one by one: each hits most of the futures not hit yet, at least two."""
    left = list(futures)
    chosen: list[str] = []
    while len(chosen) < SUGGESTED:
        counts = Counter(text for future in left for text in future)
        if not counts:
            break
        best = min(counts, key=lambda text: (-counts[text], text))
        if counts[best] < _LEAST:
            break
        chosen.append(best)
        left = [future for future in left if best not in future]
    return chosen
