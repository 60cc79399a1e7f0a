"""What all tests share: how hypothesis searches, and a small shop's artefact."""

from pathlib import Path

import pytest
from hypothesis import settings

from tests.support import SAMPLE_SHOP, write_dataset
from workers.common import artefacts

# Deterministic, so that a run says the same thing twice; no deadline, since the machine may be busy.
settings.register_profile("aigq", max_examples=100, deadline=None, derandomize=True, database=None)
settings.load_profile("aigq")


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of the small shop's dataset."""
    return write_dataset(tmp_path_factory.mktemp("dataset"))


@pytest.fixture(scope="session")
def artefact_root(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the root under which the small shop's artefact is current. Tests do not change it."""
    root = tmp_path_factory.mktemp("artefacts")
    artefacts.build(dataset, root, sample=SAMPLE_SHOP)
    return root
