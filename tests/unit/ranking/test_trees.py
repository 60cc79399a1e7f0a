"""Trees as bit masks say what LightGBM says of the same trees."""

from typing import Any

import lightgbm
import numpy as np
import pytest
from numpy.typing import NDArray

from service.ranking.trees import Trees


def booster(table: NDArray[np.float32], *, leaves: int = 15, **told: Any) -> lightgbm.Booster:
    """Return trees that learned something of `table`, whose first two columns have no NaN."""
    right = np.nan_to_num(table[:, 0] * table[:, 1] + table[:, 2]) > 0
    parameters = {"objective": "binary", "num_leaves": leaves, "min_data_in_leaf": 5, "verbosity": -1, **told}
    return lightgbm.train(parameters, lightgbm.Dataset(table, right.astype(np.float32)), 30)


def rows(number: int, seed: int, missing: float = 0.3) -> NDArray[np.float32]:
    """Return rows of eight features, some whole numbers, so that values meet thresholds; the last six may miss."""
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(number, 8))
    table[:, 4:] = np.round(table[:, 4:] * 2)
    table[:, 2:][rng.random((number, 6)) < missing] = np.nan
    return table.astype(np.float32)


@pytest.mark.parametrize("seed", range(5))
def test_as_lightgbm_predicts(seed: int) -> None:
    """Also for NaN where none was when they learned, for infinities, and for no rows but one."""
    trees = Trees(booster(rows(600, seed)))
    asked = rows(500, seed + 100)
    asked[::7, :2] = np.nan
    asked[::11, 3], asked[::13, 4] = np.inf, -np.inf
    for some in (asked, asked[:1]):
        assert trees.predict(some) == pytest.approx(trees.booster.predict(some), rel=1e-12)


def test_order_is_the_same() -> None:
    """What LightGBM finds equal stays equal, so a stable order stays what it was."""
    trees = Trees(booster(rows(600, 1)))
    asked = np.repeat(rows(100, 2), 2, axis=0)
    expected = np.argsort(-np.asarray(trees.booster.predict(asked)), kind="stable")
    assert np.argsort(-trees.predict(asked), kind="stable").tolist() == expected.tolist()


def test_trees_that_never_split() -> None:
    """Nothing to learn: each tree is one leaf."""
    trees = Trees(booster(np.ones((50, 8), dtype=np.float32)))
    asked = rows(3, 3)
    assert trees.predict(asked) == pytest.approx(trees.booster.predict(asked))


@pytest.mark.parametrize(
    ("told", "why"),
    [({"leaves": 31}, "more than 16 leaves"), ({"zero_as_missing": True}, "Zero")],
)
def test_other_trees_are_refused(told: dict[str, Any], why: str) -> None:
    """Rather than misread."""
    with pytest.raises(ValueError, match=why):
        Trees(booster(rows(2000, 4, missing=0.0 if "leaves" in told else 0.3), **told))
