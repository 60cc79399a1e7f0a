"""Exploration: the logged chance is the true one."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.ranking.explore import explore
from service.ranking.merge import Candidate

RANKED = [Candidate(f"query {n}", "popular", 1.0 / (n + 1)) for n in range(8)]


class Told(Random):
    """Draws what it is told: whether to explore, the slot, and which eligible candidate."""

    def __init__(self, *numbers: int) -> None:
        self._numbers = list(numbers)

    def random(self) -> float:
        """Explore."""
        return 0.0

    def randrange(self, stop: int) -> int:  # type: ignore[override]
        """Return the next number told."""
        number = self._numbers.pop(0)
        assert number < stop
        return number


@pytest.mark.parametrize("k", [1, 3, 8, 12])
def test_propensities_are_exact(k: int) -> None:
    """Each slot's chances, added up over all that can be drawn, are what is logged, and make one."""
    epsilon, slots = 0.3, min(k, len(RANKED))
    eligible = len(RANKED) - slots + 1
    true: Counter[tuple[int, str]] = Counter()
    logged: dict[tuple[int, str], float] = {}
    best, _ = explore(RANKED, k, 0.0, Random(1))
    for slot, candidate in enumerate(best):
        true[slot, candidate.query] += 1 - epsilon
    for drawn_slot in range(slots):
        for drawn in range(eligible):
            shown, propensity = explore(RANKED, k, epsilon, Told(drawn_slot, drawn))
            for slot, (candidate, chance) in enumerate(zip(shown, propensity, strict=True)):
                true[slot, candidate.query] += epsilon / (slots * eligible)
                logged[slot, candidate.query] = chance
    assert logged == pytest.approx(dict(true))
    for slot in range(slots):
        assert sum(chance for (at, _), chance in true.items() if at == slot) == pytest.approx(1)


def test_draws_follow_the_propensities() -> None:
    """Over many answers, what is shown in a slot is as frequent as its logged chance says."""
    chance, answers = Random(7), 40_000
    seen: Counter[tuple[int, str]] = Counter()
    logged: dict[tuple[int, str], float] = {}
    for _ in range(answers):
        shown, propensity = explore(RANKED, 3, 0.5, chance)
        for slot, (candidate, p) in enumerate(zip(shown, propensity, strict=True)):
            seen[slot, candidate.query] += 1
            logged[slot, candidate.query] = p
    for key, p in logged.items():
        assert abs(seen[key] / answers - p) < 5 * (p * (1 - p) / answers) ** 0.5


@given(st.integers(0, 12), st.integers(0, 12), st.floats(0, 1), st.integers(0, 2**32))
def test_nothing_is_shown_twice(length: int, k: int, epsilon: float, seed: int) -> None:
    """As many as there are, up to k, all different, each with a chance in (0, 1]."""
    ranked = [Candidate(f"query {n}", "popular", 1.0) for n in range(length)]
    shown, propensity = explore(ranked, k, epsilon, Random(seed))
    assert len(shown) == len(propensity) == min(k, length)
    assert len({one.query for one in shown}) == len(shown)
    assert all(0 < p <= 1 for p in propensity)


def test_no_share_no_exploration() -> None:
    """The best, surely."""
    assert explore(RANKED, 3, 0.0, Told()) == (RANKED[:3], [1.0, 1.0, 1.0])
