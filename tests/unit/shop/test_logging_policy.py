"""What the logging policy promises: exact propensities."""

from collections import Counter

import pytest

from workers.shop.draws import Draws, Stream
from workers.shop.logging_policy import SLOTS, LoggingPolicy, Served
from workers.shop.people import Profile
from workers.shop.world import World

_EPSILON = 0.4
_QUERIES = ["tent", "tents", "lamp", "sofa", "ring", "vase", "dog bed"]
_ROUNDS = 20_000


@pytest.fixture
def profile(world: World) -> Profile:
    """Any profile."""
    return world.people.draw(Draws(1, Stream.SHOPPERS, 0), 1.0)


@pytest.fixture
def policy(profile: Profile) -> LoggingPolicy:
    """A policy that knows a few popular queries, one of them twice."""
    table = [(query, 1 - n / 10) for n, query in enumerate(_QUERIES)]
    return LoggingPolicy({(profile.segment.id, profile.locale): table}, {"tent": [("stove", 1.0)]}, _EPSILON)


def _serve(policy: LoggingPolicy, profile: Profile, draws: Draws) -> Served:
    served = policy.serve(profile, [], {}, 0.0, draws)
    assert served is not None
    return served


def test_logged_propensity_is_the_share_of_showings(policy: LoggingPolicy, profile: Profile) -> None:
    """Over many showings in one context, each slot shows each query as often as its propensity says."""
    draws = Draws(3, Stream.SHOPPERS, 0)
    seen: Counter[tuple[int, str]] = Counter()
    said: dict[tuple[int, str], float] = {}
    for _ in range(_ROUNDS):
        served = _serve(policy, profile, draws)
        assert len(set(served.queries)) == SLOTS
        for slot, (query, propensity) in enumerate(zip(served.queries, served.propensity, strict=True)):
            seen[slot, query] += 1
            said[slot, query] = propensity
    for slot in range(SLOTS):
        assert sum(p for (where, _), p in said.items() if where == slot) == pytest.approx(1.0)
    for context, propensity in said.items():
        assert seen[context] / _ROUNDS == pytest.approx(propensity, abs=0.015)


def test_near_duplicates_and_recent_searches_are_not_shown(policy: LoggingPolicy, profile: Profile) -> None:
    """Another number ("tents") is the same query; what was searched within two days is left out."""
    known = [text for _, text, _ in policy.candidates(profile, [], {}, 0.0)]
    assert "tents" not in known
    after = [text for _, text, _ in policy.candidates(profile, ["tent"], {"tent": 0.0}, 60.0)]
    assert "tent" not in after
    assert after[0] == "stove"


def test_nothing_known_is_nothing_shown(profile: Profile) -> None:
    """Fewer than three candidates: no hints."""
    assert LoggingPolicy({}, {}, _EPSILON).serve(profile, [], {}, 0.0, Draws(1, Stream.SHOPPERS, 0)) is None
