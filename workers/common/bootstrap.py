"""Paired bootstrap: cases are drawn with replacement, the same draws for every method (Efron and Tibshirani, 1993)."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

RESAMPLES: Final = 2000
_CHUNK: Final = 100
Floats = NDArray[np.float64]


def resampled_means(values: Floats, seed: int, resamples: int = RESAMPLES) -> Floats:
    """Return the column means of `values`, shape (cases, methods), in each resample: (resamples, methods).

    Raises:
        ValueError: there are no cases.
    """
    cases = len(values)
    if not cases:
        raise ValueError("a bootstrap needs at least one case")
    rng = np.random.default_rng(seed)
    share = np.full(cases, 1 / cases)
    counts = (rng.multinomial(cases, share, min(_CHUNK, resamples - start)) for start in range(0, resamples, _CHUNK))
    return np.concatenate([some @ values for some in counts]) / cases


def interval(means: Floats) -> tuple[float, float]:
    """Return the 95% percentile interval of resampled means, or of anything made of them."""
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def ratios(means: Floats, reference: Floats) -> Floats:
    """Return means over the reference's in the same resamples; where the reference has nothing, infinity or NaN."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return means / reference
