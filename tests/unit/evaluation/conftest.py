"""A tiny shop whose shoppers' next searches are known, shared by the tests of the evaluation."""

import pytest

from tests.unit.evaluation.shops import journeys
from workers.common.dataset import Dataset
from workers.evaluation.cases import Split, read_split


@pytest.fixture(scope="session")
def journey_data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Return the dataset of shoppers on journeys."""
    return journeys(tmp_path_factory.mktemp("journeys") / "data")


@pytest.fixture(scope="session")
def split(journey_data: Dataset) -> Split:
    """Return its split."""
    return read_split(journey_data, cases=1000, learners=1000)
