"""A shopper: lasting interests, needs that come and go, tastes, and what they saw."""

from dataclasses import dataclass, field
from heapq import heappush

from workers.shop.catalogue import Category
from workers.shop.draws import Draws
from workers.shop.items import Item
from workers.shop.people import Profile
from workers.shop.queries import NONE, Query

Trigger = str | tuple[int, int]
"""A query's text, or the (category index, product type) of a clicked item: what co-click looks up."""
_TRAIL = 6


@dataclass(slots=True, eq=False)
class Need:
    """Something wanted. `axes` are the two attributes that matter most; `step` is how far the drill-down has come."""

    category: Category
    kind: int
    values: list[int]
    axes: tuple[int, int]
    brand: int
    use: int
    strength: float
    opens: float
    origin: str
    touched: float
    step: int = 0
    audience: int = NONE
    last: tuple[Query, str] | None = None
    carted: Item | None = None
    seen: Item | None = None
    opened: list[Item] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Interest:
    """An area of the shop that a shopper keeps coming back to; rises within days and fades over weeks."""

    categories: list[Category]
    sums: list[float]
    strength: float
    born: float
    fade_s: float


@dataclass(slots=True, eq=False)
class Taste:
    """What a shopper wanted the last time in a category."""

    kind: int
    values: list[int]
    axes: tuple[int, int]
    brand: int
    use: int
    last: tuple[Query, str] | None = None


@dataclass(slots=True, eq=False)
class Shopper:
    """The true state of a shopper."""

    user_id: str
    profile: Profile
    draws: Draws
    habit: float
    directness: float
    hint_liking: float
    needs: list[Need] = field(default_factory=list)
    pending: list[tuple[float, int, Need]] = field(default_factory=list)
    interests: list[Interest] = field(default_factory=list)
    tastes: dict[int, Taste] = field(default_factory=dict)
    traits: dict[str, str] = field(default_factory=dict)
    favourites: dict[str, str] = field(default_factory=dict)
    bought: dict[int, float] = field(default_factory=dict)
    searched: dict[str, float] = field(default_factory=dict)
    shown: dict[str, int] = field(default_factory=dict)
    trail: list[Trigger] = field(default_factory=list)
    life_events: list[str] = field(default_factory=list)
    requests: int = 0
    orders: int = 0
    sessions: int = 0
    scheduled: int = 0

    def schedule(self, need: Need) -> None:
        """Keep a need until it opens."""
        self.scheduled += 1  # breaks ties: needs are not ordered
        heappush(self.pending, (need.opens, self.scheduled, need))

    def did(self, trigger: Trigger) -> None:
        """Remember what the shop saw last, newest first."""
        if trigger in self.trail:
            self.trail.remove(trigger)
        self.trail.insert(0, trigger)
        del self.trail[_TRAIL:]
