"""Exploration: now and then one slot shows something else, with a known chance, so that logs can be learned from.

With probability 1 - epsilon the best are shown. Else one slot, drawn uniformly, shows a candidate drawn uniformly from
the m eligible ones: its own, and every one that is in no slot. So the exact chance that slot j shows q, given what was
recalled, is (1 - epsilon) [q = best_j] + epsilon ((n - 1) / n [q = best_j] + 1 / (n m)) with n slots. The sample shop's
logging policy is the same.
"""

from collections.abc import Sequence
from random import Random
from typing import Final

from service.ranking.merge import Candidate

POOL: Final = 50
"""Candidates beside the shown ones that a slot may draw."""


def explore(ranked: Sequence[Candidate], k: int, epsilon: float, chance: Random) -> tuple[list[Candidate], list[float]]:
    """Return at most `k` candidates to show, and the propensity of each slot; `ranked` is best first."""
    shown = list(ranked[:k])
    slots = len(shown)
    if epsilon <= 0 or not slots:
        return shown, [1.0] * slots
    eligible = len(ranked) - slots + 1
    drawn_share = epsilon / (slots * eligible)
    propensity = [1 - epsilon + epsilon * (slots - 1) / slots + drawn_share] * slots
    if chance.random() < epsilon:
        slot, drawn = chance.randrange(slots), chance.randrange(eligible)
        if drawn:  # 0 is the slot's own
            shown[slot], propensity[slot] = ranked[slots - 1 + drawn], drawn_share
    return shown, propensity
