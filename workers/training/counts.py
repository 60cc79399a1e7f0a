"""Stage 2a: counts over histories, from which candidates for labels come: what is popular, and what follows what.

A query of fewer than `min_shoppers` shoppers is in none of them (k-anonymity).
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from service.ranking.filter import reject_reason
from service.ranking.next_counts import FADE, NextCounts, segment_of, trigger_keys
from workers.training.sessions import DAY_S, Act, History

_AHEAD = 4
_AHEAD_S = 2 * DAY_S
_DAMPING = 3.0
"""Added to a trigger's count, so that a trigger seen once does not speak with certainty."""
_KEPT = 32
_MIN_SUPPORT = 2
_COMMON_POWER = 0.15
"""How much the popular is held back among what follows a trigger."""
_HEAD = 30

Table = dict[str, list[tuple[str, float]]]
Pair = tuple[str, str]


class Production:
    """Counts over histories: popularity, and what is searched after and before a trigger.

    `counts` are what ranking needs; `before` maps a trigger to (query that led to it, score), best first.
    """

    def __init__(self, histories: Iterable[History], categories: Mapping[str, str], min_shoppers: int) -> None:
        """Count; `categories` maps item id to path."""
        histories = list(histories)
        self._categories = categories
        shoppers: Counter[str] = Counter()
        segments: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for history in histories:
            # Not a set: its order differs between runs, and with it which of two equally popular queries comes first.
            searched = dict.fromkeys(act.query for act in history.acts if act.query is not None).keys()
            shoppers.update(searched)
            segments[segment_of(history.profile)].update(searched)
        self.popularity = {
            query: count
            for query, count in sorted(shoppers.items(), key=lambda pair: (-pair[1], pair[0]))
            if count >= min_shoppers and reject_reason(query) is None
        }
        popular = {segment: self._shares(counts) for segment, counts in segments.items()}
        after: defaultdict[Pair, float] = defaultdict(float)
        before: defaultdict[Pair, float] = defaultdict(float)
        support: Counter[Pair] = Counter()
        for history in histories:
            follows, precedes = self._pairs(history.acts)
            for pair, weight in follows.items():
                after[pair] += weight
            for pair in precedes:
                before[pair] += 1.0
            support.update(follows.keys() | precedes)
        self.counts = NextCounts(self.popularity, popular, self._table(after, support))
        self.before = self._table(before, support)

    def triggers(self, act: Act) -> tuple[str, ...]:
        """Return an act's triggers, most specific first."""
        return trigger_keys(act.query, act.item_id, self._categories.get(act.item_id or "", ""))

    def _pairs(self, acts: Sequence[Act]) -> tuple[dict[Pair, float], set[Pair]]:
        """Return one shopper's (trigger, later query) weights, and (trigger, query that led to it) pairs."""
        follows: dict[Pair, float] = {}
        precedes: set[Pair] = set()
        query = ""
        for n, act in enumerate(acts):
            if act.query is not None:
                query = act.query
            elif query in self.popularity:
                precedes.update((trigger, query) for trigger in self.triggers(act))
            weight, seen = 1.0, {act.query}
            for later in acts[n + 1 : n + 12]:
                if later.ts - act.ts > _AHEAD_S or len(seen) > _AHEAD:
                    break
                if later.query is None or later.query in seen:
                    continue
                seen.add(later.query)
                if later.query in self.popularity:
                    for trigger in self.triggers(act):
                        follows.setdefault((trigger, later.query), weight)
                weight *= FADE
        return follows, precedes

    def _table(self, weights: Mapping[Pair, float], support: Mapping[Pair, int]) -> Table:
        totals: defaultdict[str, float] = defaultdict(float)
        for (trigger, _), weight in weights.items():
            totals[trigger] += weight
        table: defaultdict[str, list[tuple[str, float]]] = defaultdict(list)
        for (trigger, query), weight in weights.items():
            if support[trigger, query] >= _MIN_SUPPORT:
                held_back = self.popularity[query] ** _COMMON_POWER
                table[trigger].append((query, weight / (totals[trigger] + _DAMPING) / held_back))
        return {key: sorted(pairs, key=lambda pair: (-pair[1], pair[0]))[:_KEPT] for key, pairs in table.items()}

    def _shares(self, counts: Counter[str]) -> dict[str, float]:
        total = sum(counts.values())
        known = [(query, count) for query, count in counts.most_common(4 * _HEAD) if query in self.popularity]
        return {query: count / total for query, count in known[:_HEAD]}
