"""How likely each position is looked at, relative to the best one, from slots that exploration filled at random.

There, what a position shows does not depend on the position, so clicks by position differ by examination alone. Such
slots are few, so their rates are drawn towards a power law of the rank (Joachims et al. 2017, arXiv 1608.04468)
that is fitted to the same slots.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

PRIOR_CLICKS: Final = 20.0
"""The power law weighs like so many clicks at each position."""
_POWERS: Final = np.linspace(0.0, 3.0, 301)
_LEAST: Final = 0.01


def estimate(positions: NDArray[np.int64], clicks: NDArray[np.bool_], length: int) -> list[float] | None:
    """Return the examination of positions 0 to `length` - 1, the largest being 1, from explored slots.

    None if no explored slot was clicked, so that nothing can be said.
    """
    inside = positions < length
    shown = np.bincount(positions[inside], minlength=length).astype(np.float64)
    clicked = np.bincount(positions[inside & clicks], minlength=length).astype(np.float64)
    if not clicked.sum():
        return None
    law, rate = _power_law(shown, clicked)
    smoothed = (clicked + PRIOR_CLICKS) / (rate * shown + PRIOR_CLICKS / law)
    return [round(float(max(value, _LEAST)), 4) for value in smoothed / smoothed.max()]


def at(examination: Sequence[float], positions: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the examination of each position; one that is beyond those known counts like the last."""
    found: NDArray[np.float64] = np.array(examination)[np.minimum(positions, len(examination) - 1)]
    return found


def _power_law(shown: NDArray[np.float64], clicked: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Return (1 + position) ** -power and the rate at position 0 of highest Poisson likelihood."""
    ranks = np.arange(1, len(shown) + 1, dtype=np.float64)
    laws = ranks ** -_POWERS[:, None]
    rates = clicked.sum() / (laws @ shown)
    likelihood = (clicked * np.log(laws)).sum(axis=1) + clicked.sum() * np.log(rates)
    best = int(likelihood.argmax())
    return laws[best], float(rates[best])
