"""Measures of a CTR ranker, as pure functions: discrimination, log loss, calibration."""

import math
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

Floats64 = NDArray[np.float64]
BINS: Final = 10
_Z95: Final = 1.96
Rows = NDArray[np.bool_]


def auc(clicks: Rows, scores: Floats64) -> float:
    """Return the chance that a clicked exposure is scored above another one; ties count half; NaN without either."""
    positive, negative = int(clicks.sum()), int((~clicks).sum())
    if not positive or not negative:
        return math.nan
    ranks = pl.Series(scores).rank("average").to_numpy()
    return float((ranks[clicks].sum() - positive * (positive + 1) / 2) / (positive * negative))


def auc_margin(value: float, positive: int, negative: int) -> float:
    """Return half the 95% interval of an AUC (Hanley and McNeil 1982)."""
    both = value * (1 - value)
    clicked = (positive - 1) * (value / (2 - value) - value**2)
    other = (negative - 1) * (2 * value**2 / (1 + value) - value**2)
    return _Z95 * math.sqrt(max(0.0, (both + clicked + other) / (positive * negative)))


def log_loss(clicks: Rows, chances: Floats64) -> float:
    """Return the mean negative log-likelihood in nats; NaN for nothing."""
    if not len(clicks):
        return math.nan
    safe = np.clip(chances, 1e-7, 1 - 1e-7)
    return float(-np.log(np.where(clicks, safe, 1 - safe)).mean())


def by_decile(chances: Floats64, observed: Floats64) -> list[tuple[float, float, int]]:
    """Return (mean predicted, mean observed, rows) by equally filled bin of the prediction, lowest first."""
    order = np.argsort(chances, kind="stable")
    return [
        (float(chances[some].mean()), float(observed[some].mean()), len(some))
        for some in np.array_split(order, BINS)
        if len(some)
    ]


def calibration_error(chances: Floats64, observed: Floats64) -> float:
    """Return the mean distance of predicted and observed rate over deciles, in probability."""
    bins = by_decile(chances, observed)
    return sum(abs(said - seen) * rows for said, seen, rows in bins) / max(1, len(chances))


def measure(clicks: Rows, chances: Floats64, rate: float) -> dict[str, Any]:
    """Return the figures of some exposures; `rate` is the constant guess that log loss is compared with."""
    positive = int(clicks.sum())
    value = auc(clicks, chances)
    margin = auc_margin(value, positive, len(clicks) - positive) if not math.isnan(value) else math.nan
    return {
        "exposures": len(clicks),
        "clicks": positive,
        "auc": rounded(value),
        "auc_ci": [rounded(max(0.0, value - margin)), rounded(min(1.0, value + margin))],
        "log_loss": rounded(log_loss(clicks, chances)),
        "log_loss_constant": rounded(log_loss(clicks, np.full(len(clicks), rate))),
        "calibration_error": rounded(calibration_error(chances, clicks.astype(np.float64))) if len(clicks) else None,
        "clicks_over_predicted": rounded(positive / chances.sum()) if len(clicks) else None,
    }


def spearman(left: Floats64, right: Floats64) -> float:
    """Return the rank correlation; NaN if one of them is constant."""
    ranked = pl.DataFrame({"left": left, "right": right})
    found = ranked.select(pl.corr("left", "right", method="spearman")).item()
    return math.nan if found is None else float(found)


def rounded(value: float) -> float | None:
    """Return `value` as JSON can have it: NaN is null."""
    return None if math.isnan(value) else round(float(value), 4)
