"""Weighing sources: what fits is found, whoever asks; logs and rankers that cannot say are refused."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.contracts.errors import ArtefactError
from service.ranking.calibration import BY_HAND, Calibration
from service.ranking.catalogue import Catalogue
from service.ranking.shopper_context import ShopperContext
from tests.unit.evaluation.shops import JOURNEYS, journeys
from workers.common.artefacts import build
from workers.common.calibrate import FLOOR, calibrate, weigh

weights = st.tuples(*[st.floats(0, 1)] * 3)


class LikesTheJourney:
    """Likes queries of the journey that the shopper is on; `most` of a query that is on none is liked."""

    def __init__(self, journey: float, most: float) -> None:
        self._journey, self._most = journey, most

    def score(self, context: ShopperContext, queries: Sequence[str]) -> NDArray[np.float32]:
        """See `Scorer.score`."""
        done = {act.ref.removesuffix("-item") for act in context.behaviour}
        own = {query for journey in JOURNEYS if done & set(journey) for query in journey}
        return np.array([self._journey if query in own else self._most for query in queries], dtype=np.float32)


def _requests(seed: int, number: int = 40) -> list[NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    return [rng.uniform(size=(12, 3)) * (rng.random((12, 3)) < 0.5) for _ in range(number)]


@given(weights, st.integers(0, 99))
def test_weights_are_found_whoever_asks(true: tuple[float, float, float], seed: int) -> None:
    """Of sums of scores and a constant for each request, the weights come back: the best is 1, none below the floor."""
    assume(max(true) > 0.01)
    rng = np.random.default_rng(seed + 100)
    replayed = [(scores, scores @ np.array(true) + rng.uniform(0, 5)) for scores in _requests(seed)]
    found = weigh(replayed).as_json().values()
    assert list(found) == pytest.approx([max(FLOOR, weight / max(true)) for weight in true], abs=1e-3)


@given(st.integers(0, 99))
def test_whatever_the_chances_weights_are_weights(seed: int) -> None:
    """Positive, finite, at most 1; or the ranker's word is refused."""
    rng = np.random.default_rng(seed)
    replayed = [(scores, rng.random(len(scores))) for scores in _requests(seed, 5)]
    try:
        found = weigh(replayed)
    except ArtefactError:
        return
    assert all(FLOOR <= weight <= 1 for weight in found.as_json().values())


def test_a_source_that_proposes_nothing_keeps_its_weight() -> None:
    """A shop whose logs know all items has no text rows yet."""
    replayed = [(scores * [1, 0, 1], scores @ np.array([1.0, 0.0, 0.5])) for scores in _requests(1)]
    assert weigh(replayed) == Calibration(1.0, BY_HAND.text, 0.5)
    alone = [(scores * [0, 0, 1], scores @ np.array([0.0, 0.0, 0.5])) for scores in _requests(1)]
    assert weigh(alone) == BY_HAND


def test_a_ranker_that_likes_what_comes_last_is_refused() -> None:
    """No weights could follow it."""
    with pytest.raises(ArtefactError, match="train it anew"):
        weigh([(scores, -scores.sum(axis=1)) for scores in _requests(1)])


def test_past_moments_are_replayed(tmp_path: Path) -> None:
    """Co-click knows a journey better than what is popular in the segment, and the ranker says so."""
    dataset = journeys(tmp_path / "data", 80)
    build(dataset.root, tmp_path / "root")
    catalogue = Catalogue.open(tmp_path / "root")
    told: list[tuple[int, int]] = []
    found = calibrate(catalogue, dataset, LikesTheJourney(0.5, 0.1), advance=lambda *some: told.append(some))
    assert found.popular < found.co_click == 1
    assert told == [(1, 160)] * 160
    assert calibrate(catalogue, dataset, LikesTheJourney(0.5, 0.1)) == found, "the same logs, the same weights"
    few = journeys(tmp_path / "few", 10)
    with pytest.raises(ArtefactError, match="20 moments"):
        calibrate(catalogue, few, LikesTheJourney(0.5, 0.1))
    catalogue.close()
