"""A world read from the shop's own data files, and a small dataset made in it; both once for all tests."""

from pathlib import Path

import pytest

from workers.common.dataset import Dataset
from workers.shop.generate import generate
from workers.shop.world import World

SHOPPERS = 150
WARM_UP = 200


@pytest.fixture(scope="session")
def world() -> World:
    """The sample shop."""
    return World.read()


@pytest.fixture(scope="session")
def dataset(world: World, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Logs of a few shoppers."""
    root: Path = tmp_path_factory.mktemp("shop") / "data"
    generate(root, shoppers=SHOPPERS, days=30, seed=7, shop=world.shop, warm_up=WARM_UP)
    return Dataset(root)
