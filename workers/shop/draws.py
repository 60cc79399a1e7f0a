"""Random draws: one counter-based generator a shopper, so that no shopper depends on how many were made before."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from enum import IntEnum
from itertools import accumulate

import numpy as np

_BLOCK = 160


class Stream(IntEnum):
    """What a generator is for; streams of one seed are independent."""

    SHOPPERS = 0
    WARM_UP = 1
    CATALOGUE = 2
    ORACLE = 3


class Draws:
    """Uniform draws in blocks from Philox, keyed by (seed, stream, index): the same key gives the same draws."""

    __slots__ = ("_block", "_rng")

    def __init__(self, seed: int, stream: Stream, index: int) -> None:
        key = np.array([seed, (int(stream) << 48) + index], dtype=np.uint64)
        self._rng = np.random.Generator(np.random.Philox(key=key))
        self._block: list[float] = []

    def uniform(self) -> float:
        """Return a draw from [0, 1)."""
        return (self._block or self._fill()).pop()

    def chance(self, probability: float) -> bool:
        """Return True with `probability`."""
        return (self._block or self._fill()).pop() < probability

    def below(self, count: int) -> int:
        """Return an integer in [0, count)."""
        return int(self.uniform() * count)

    def between(self, low: float, high: float) -> float:
        """Return a draw from [low, high)."""
        return low + (high - low) * self.uniform()

    def exponential(self, mean: float) -> float:
        """Return an exponential draw."""
        return -mean * math.log(1.0 - self.uniform())

    def normal(self) -> float:
        """Return a standard normal draw (Box-Muller)."""
        radius = math.sqrt(-2.0 * math.log(1.0 - self.uniform()))
        return radius * math.cos(2.0 * math.pi * self.uniform())

    def pick(self, running: Sequence[float]) -> int:
        """Return an index drawn by the weights whose running sums are `running`."""
        # The upper bound guards against a product that rounds up to the last sum.
        block = self._block or self._fill()
        return bisect_right(running, block.pop() * running[-1], 0, len(running) - 1)

    def _fill(self) -> list[float]:
        self._block = self._rng.random(_BLOCK).tolist()
        return self._block


def running_sums(weights: Sequence[float]) -> list[float]:
    """Return the running sums that `Draws.pick` takes."""
    return list(accumulate(weights))
