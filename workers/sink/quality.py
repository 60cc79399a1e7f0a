"""What the log says of the hints themselves: who clicks which source's, and how much the same ones are shown.

The sink sees both sides: the served list, with sources and arm, and what the front end reports of it. So clicks are
told by source without asking front ends to repeat what they were given.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from workers.sink import metrics
from workers.sink.lines import Line

_REQUESTS: Final = 200_000
"""Served lists that are remembered for their clicks; some 100 MB at most."""
_WINDOW: Final = 50_000
"""Latest hints among which concentration is measured."""
_TOP: Final = 0.01
_UNKNOWN: Final = "unknown"
_ACTIONS: Final = {"hint_exposure": "seen", "hint_click": "clicked"}

Served = tuple[dict[str, str], str]
"""Source by query, and the arm."""


class Quality:
    """Counts feedback and concentration of the lines that it is given."""

    def __init__(self, category: Callable[[str], str | None]) -> None:
        """Ask `category` what a query is about."""
        self._category = category
        self._served: OrderedDict[str, Served] = OrderedDict()
        self._window: deque[str] = deque(maxlen=_WINDOW)

    def take(self, lines: Iterable[Line]) -> None:
        """Take the lines of a part. A list may be logged after its first click, so lists are looked at first."""
        feedback = []
        shown = 0
        for line in lines:
            if line["type"] == "hint_served":
                self._remember(line)
                shown += 1
            elif line["type"] in _ACTIONS:
                feedback.append(line)
        for line in feedback:
            sources, arm = self._served.get(line.get("request_id") or "", ({}, _UNKNOWN))
            source = sources.get(line.get("query") or "", _UNKNOWN)
            metrics.FEEDBACK.labels(_ACTIONS[line["type"]], source, arm).inc()
        if shown:
            self._measure()

    def _remember(self, line: Line) -> None:
        queries, sources = line.get("queries") or [], line.get("sources") or []
        self._window.extend(queries)
        self._served[str(line.get("request_id"))] = (
            dict(zip(queries, sources, strict=False)),
            str(line.get("arm") or _UNKNOWN),
        )
        if len(self._served) > _REQUESTS:
            self._served.popitem(last=False)

    def _measure(self) -> None:
        queries = Counter(self._window)
        categories: Counter[str] = Counter()
        for query, count in queries.items():
            if (category := self._category(query)) is not None:
                categories[category] += count
        metrics.QUERY_HHI.set(hhi(list(queries.values())))
        metrics.TOP_SHARE.set(top_share(list(queries.values()), _TOP))
        metrics.CATEGORY_HHI.set(hhi(list(categories.values())))


def hhi(counts: Sequence[int]) -> float:
    """Return the Herfindahl-Hirschman index: 1 / n if n things share evenly, 1 if one has all; 0 of nothing."""
    total = sum(counts)
    return sum((count / total) ** 2 for count in counts) if total else 0.0


def top_share(counts: Sequence[int], top: float) -> float:
    """Return the share of the whole that the `top` part of the things has, at least one of them; 0 of nothing."""
    largest = sorted(counts, reverse=True)[: max(1, round(top * len(counts)))]
    return sum(largest) / sum(counts) if counts else 0.0
