"""What production had learnt before the logs begin: popular and co-click tables from an earlier month without hints.

The shoppers of that month are others than those in the logs (a stream of their own), so nothing leaks.
"""

from collections import Counter, defaultdict
from typing import Final

from workers.shop.draws import Stream
from workers.shop.event_log import EventLog
from workers.shop.logging_policy import LoggingPolicy, Scored
from workers.shop.people import DAY_S
from workers.shop.shopper import Trigger
from workers.shop.world import World, live

SHOPPERS: Final = 4000
DAYS: Final = 30
_MIN_SHOPPERS = 3
_POPULAR = 50
_RELATED = 16
_AHEAD = 4
_AHEAD_S = 1.5 * DAY_S
_DAMPING = 10.0
"""Added to a trigger's count, so that rare triggers do not speak with certainty."""
_POPULARITY_PENALTY = 0.35
_SCALE = 3.0


def learn(world: World, seed: int, start: float, shoppers: int = SHOPPERS) -> LoggingPolicy:
    """Return the logging policy for logs that begin at `start` (epoch seconds)."""
    visits = world.visits(None)
    items = {item.id: (item.category.index, item.kind) for item in world.shop.items()}
    users: dict[str, set[int]] = defaultdict(set)
    by_segment: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    pairs: dict[Trigger, dict[str, float]] = defaultdict(dict)
    for index in range(shoppers):
        log = EventLog()
        key = (seed, Stream.WARM_UP, index)
        shopper, nature = live(world, visits, key, (start - DAYS * DAY_S, start), log)
        if nature == "bot":
            continue
        steps: list[tuple[float, Trigger]] = []
        for row in log.rows:
            _, ts, kind, query, item_id, *_ = row
            if kind == "search" and query is not None:
                steps.append((ts, query))
            elif kind == "click" and item_id is not None:
                steps.append((ts, items[item_id]))
        searched = {text for _, text in steps if isinstance(text, str)}
        by_segment[shopper.profile.segment.id, shopper.profile.locale].update(searched)
        for text in searched:
            users[text].add(index)
        _count_pairs(steps, pairs)
    known = {text: len(who) for text, who in users.items() if len(who) >= _MIN_SHOPPERS and text in world.book.by_text}
    popular = {segment: _scaled(_top(counts, known, _POPULAR)) for segment, counts in by_segment.items()}
    co_click = {trigger: table for trigger, counts in pairs.items() if (table := _related(counts, known))}
    return LoggingPolicy(popular, co_click, world.rates.epsilon)


def _count_pairs(steps: list[tuple[float, Trigger]], pairs: dict[Trigger, dict[str, float]]) -> None:
    """Count, for each trigger, the next different queries soon after it: the nearer the more, once a shopper."""
    counted: set[tuple[Trigger, str]] = set()
    for n, (ts, trigger) in enumerate(steps):
        weight, seen = 1.0, {trigger}
        for later, text in steps[n + 1 :]:
            if later - ts > _AHEAD_S or len(seen) > _AHEAD:
                break
            if isinstance(text, str) and text not in seen:
                if (trigger, text) not in counted:
                    counted.add((trigger, text))
                    table = pairs[trigger]
                    table[text] = table.get(text, 0.0) + weight
                seen.add(text)
                weight *= 0.7


def _top(counts: Counter[str], known: dict[str, int], limit: int) -> list[Scored]:
    ranked = sorted(((text, float(n)) for text, n in counts.items() if text in known), key=lambda s: (-s[1], s[0]))
    return ranked[:limit]


def _scaled(table: list[Scored]) -> list[Scored]:
    return [(text, score / table[0][1]) for text, score in table]


def _related(counts: dict[str, float], known: dict[str, int]) -> list[Scored]:
    total = sum(counts.values()) + _DAMPING
    scored = [
        (text, _SCALE * n / total / known[text] ** _POPULARITY_PENALTY) for text, n in counts.items() if text in known
    ]
    return sorted(scored, key=lambda s: (-s[1], s[0]))[:_RELATED]
