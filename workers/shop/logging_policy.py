"""The policy that showed the hints in the logs: popular + co-click, ranked by a production score, with exploration.

With probability 1 - epsilon the best three are shown. Else one slot, drawn uniformly, shows a query drawn uniformly
from the m eligible ones: every candidate that is not in another slot. So the exact chance that slot j shows q, given
what was known, is (1 - epsilon) [q = best_j] + epsilon (2/3 [q = best_j] + 1/(3 m)).
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple, Protocol

from service.contracts.text import near_key
from workers.shop.draws import Draws
from workers.shop.people import DAY_S, Profile
from workers.shop.shopper import Trigger

SLOTS: Final = 3
MAX_CANDIDATES: Final = 120
NAME: Final = "popular+co_click"
_RECENT_S = 2 * DAY_S
_TRAIL_DECAY = 0.75
_POPULAR_WEIGHT = 0.12

_key = lru_cache(maxsize=1 << 16)(near_key)
_NOBODY: Final[dict[str, float]] = {}
Scored = tuple[str, float]


class Served(NamedTuple):
    """What was shown; lists by slot."""

    queries: list[str]
    sources: list[str]
    scores: list[float]
    propensity: list[float]
    policy: str
    epsilon: float
    m: int


class Policy(Protocol):
    """What the simulator needs of a policy; it sees only what the shop sees."""

    def serve(
        self, profile: Profile, trail: Sequence[Trigger], searched: Mapping[str, float], ts: float, draws: Draws
    ) -> Served | None:
        """Return the hints for a shopper at `ts`; None where there is nothing to show.

        `trail` holds the last triggers, newest first; `searched` the last time of each query text.
        """


class LoggingPolicy:
    """Popular and co-click candidates, ranked by a weighted sum of both scores.

    `popular` maps (segment, locale) and `co_click` a trigger to (query, score in (0, 1]), best first.
    """

    def __init__(
        self,
        popular: Mapping[tuple[str, str], list[Scored]],
        co_click: Mapping[Trigger, list[Scored]],
        epsilon: float,
    ) -> None:
        self._popular = {
            who: {text: _POPULAR_WEIGHT * score for text, score in table} for who, table in popular.items()
        }
        self._co_click, self.epsilon = co_click, epsilon

    def candidates(
        self, profile: Profile, trail: Sequence[Trigger], searched: Mapping[str, float], ts: float
    ) -> list[tuple[float, str, str]]:
        """Return (score, query, source), best first, near-duplicates and what was just searched left out."""
        scores = self._popular.get((profile.segment.id, profile.locale), _NOBODY).copy()
        known, related, weight = scores.get, set(), 1.0
        for trigger in trail:
            table = self._co_click.get(trigger, ())
            for text, score in table:
                scores[text] = known(text, 0.0) + weight * score
            related.update([text for text, _ in table])
            weight *= _TRAIL_DECAY
        seen = {_key(text) for text, last in searched.items() if ts - last < _RECENT_S}
        ranked: list[tuple[float, str, str]] = []
        for text in sorted(scores, key=scores.__getitem__, reverse=True):
            if (key := _key(text)) in seen:
                continue
            seen.add(key)
            ranked.append((scores[text], text, "co_click" if text in related else "popular"))
            if len(ranked) == MAX_CANDIDATES:
                break
        return ranked

    def serve(
        self, profile: Profile, trail: Sequence[Trigger], searched: Mapping[str, float], ts: float, draws: Draws
    ) -> Served | None:
        """Return three hints; None where fewer than three are known."""
        ranked = self.candidates(profile, trail, searched, ts)
        if len(ranked) < SLOTS:
            return None
        shown, m = ranked[:SLOTS], len(ranked) - SLOTS + 1
        if draws.chance(self.epsilon):
            slot = draws.below(SLOTS)
            drawn = draws.below(m)
            # 0 is the slot's own best; the others are what is not shown anywhere.
            if drawn:
                shown[slot] = ranked[SLOTS - 1 + drawn]
        drawn_share = self.epsilon / (SLOTS * m)
        kept_share = 1 - self.epsilon + self.epsilon * (SLOTS - 1) / SLOTS + drawn_share
        propensity = [kept_share if hint is best else drawn_share for hint, best in zip(shown, ranked, strict=False)]
        return Served(
            [text for _, text, _ in shown],
            [source for _, _, source in shown],
            [round(score, 4) for score, _, _ in shown],
            propensity,
            NAME,
            self.epsilon,
            m,
        )
