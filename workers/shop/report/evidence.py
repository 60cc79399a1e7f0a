"""What a shopper's visible acts say of what they want, in the shop's terms: categories, kinds, values, brands."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from workers.shop.catalogue import Category, Shop
from workers.shop.items import Item
from workers.shop.queries import NONE, Level, Query, QueryBook, TypingHabits
from workers.shop.report.cases import Act
from workers.shop.shopper import Trigger

_GRID = 64
_OWN_SESSION_S = 1800.0


@dataclass(slots=True)
class Thread:
    """What was seen of a shopper in one category. Counts are of searches that said something."""

    category: Category
    touched: float = 0.0
    visited: float = 0.0
    searches: int = 0
    visits: int = 0
    kind: int = NONE
    brand: int = NONE
    use: int = NONE
    values: dict[int, int] = field(default_factory=dict)
    axes: Counter[int] = field(default_factory=Counter)
    last: tuple[Query, str] | None = None
    carted: Item | None = None
    clicked: Item | None = None
    bought: float | None = None
    needs: int = 0
    """How often a need was taken up."""

    @property
    def is_open(self) -> bool:
        """Whether anything was done here since the last purchase."""
        return self.bought is None or self.touched > self.bought

    def begin(self, ts: float) -> None:
        """Note an act at `ts`; the first in a visit counts the visit, the first after a purchase a new need."""
        if not self.needs or (self.bought is not None and self.touched <= self.bought):
            self.needs += 1
            self.searches = self.visits = 0
            self.carted = None
        if ts - self.visited > _OWN_SESSION_S or not self.visits:
            self.visits += 1
            self.visited = ts
        self.touched = ts


class Reader:
    """Reads acts with the knowledge of the catalogue and of how each query is typed."""

    def __init__(self, shop: Shop, book: QueryBook) -> None:
        self._items = {item.id: item for item in shop.items()}
        self._book = book

    def meaning(self, text: str) -> Query | None:
        """Return what a text asks; None for a typo."""
        return self._book.by_text.get(text)

    def threads(self, acts: Sequence[Act]) -> dict[int, Thread]:
        """Return threads by category index, oldest first."""
        found: dict[int, Thread] = {}
        for act in acts:
            if act.query is not None:
                query = self.meaning(act.query)
                if query is not None:
                    self._asked(found, act, query)
            elif act.item_id in self._items:
                self._handled(found, act, self._items[act.item_id])
        return dict(sorted(found.items(), key=lambda pair: pair[1].touched))

    def _asked(self, found: dict[int, Thread], act: Act, query: Query) -> None:
        category = query.category
        thread = found.setdefault(category.index, Thread(category))
        thread.begin(act.ts)
        thread.searches += 1
        thread.last = (query, act.query or "")
        if query.kind != NONE:
            thread.kind = query.kind
        if query.brand != NONE:
            thread.brand = query.brand
        if query.level is not Level.MODEL:
            thread.values.update(query.values)
            thread.axes.update(axis for axis, _ in query.values)
        if query.level is Level.USE:
            uses = range(len(category.use_cases))
            thread.use = next((u for u in uses if self._book.use(category, query.kind, u) is query), NONE)

    @staticmethod
    def _handled(found: dict[int, Thread], act: Act, item: Item) -> None:
        thread = found.setdefault(item.category.index, Thread(item.category))
        thread.begin(act.ts)
        thread.clicked = item
        if act.type == "cart":
            thread.carted = item
        elif act.type == "purchase":
            thread.bought, thread.kind, thread.brand, thread.carted = act.ts, item.kind, item.brand, None
            thread.values = dict(enumerate(item.values))

    def trail(self, acts: Sequence[Act]) -> list[Trigger]:
        """Return the triggers of queries and clicked items, newest first, each once."""
        found: list[Trigger] = []
        for act in reversed(acts):
            if act.query is not None:
                found.append(act.query)
            elif act.type == "click" and act.item_id in self._items:
                item = self._items[act.item_id]
                found.append((item.category.index, item.kind))
        return list(dict.fromkeys(found))

    def habit(self, acts: Sequence[Act], typing: TypingHabits) -> list[float]:
        """Return the posterior of the shopper's habit (which form of a query they type) on an even grid of [0, 1)."""
        grid = [(n + 0.5) / _GRID for n in range(_GRID)]
        # Habit is the square of a uniform draw, so its density falls as one over its root.
        weights = [place**-0.5 for place in grid]
        for act in acts:
            query = self.meaning(act.query) if act.query is not None and act.type == "search" else None
            if query is None or act.query not in query.forms:
                continue
            n = query.forms.index(act.query)
            low, high = (query.sums[n - 1] if n else 0.0) / query.sums[-1], query.sums[n] / query.sums[-1]
            by_chance = (1 - typing.habit_share) * (high - low)
            weights = [
                weight * (by_chance + typing.habit_share * (low <= place < high))
                for weight, place in zip(weights, grid, strict=True)
            ]
        total = sum(weights)
        return [weight / total for weight in weights]
