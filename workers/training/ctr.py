"""CTR ranker: gradient-boosted trees on exposures, with the examination of positions taken out of the clicks.

p(click) = examination(position) x sigmoid(trees): the trees learn attraction alone, by the gradient of exactly this.
Query statistics are cross-fitted: a shopper's exposures get statistics without that shopper's own fold, or a rare
query's count would tell whether they clicked.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import lightgbm
import numpy as np
import polars as pl
from numpy.typing import NDArray

from service.contracts.errors import TooLittleData
from service.ranking.ctr import sigmoid
from service.ranking.fact_cache import FactCache
from service.ranking.features import FEATURES, features
from service.ranking.query_stats import Floats, QueryStats
from workers.common.split import Part, part_of
from workers.training import examination, query_counts
from workers.training.exposures import Log, moments

Floats64 = NDArray[np.float64]
Rows = NDArray[np.bool_]
Form = Literal["product", "offset", "position", "none"]
"""How position enters: factor of a product (ours), offset of the log-odds, a plain feature, or not at all."""
FOLDS: Final = 4
SHOWN_UNKNOWN: Final = 0.25
"""Share of requests that are learned from as if nobody had counted showings, as some callers do not."""
MIN_CLICKS: Final = 20
_MAX_ROUNDS: Final = 600
_PATIENCE: Final = 40
_SHOWN: Final = FEATURES.index("shown")
_PARAMETERS: Final[Mapping[str, Any]] = {
    "learning_rate": 0.05,
    "num_leaves": 15,
    "min_data_in_leaf": 100,
    "lambda_l2": 10.0,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "max_bin": 127,
    "deterministic": True,
    "force_col_wise": True,
    "verbosity": -1,
}


@dataclass(frozen=True, slots=True)
class Table:
    """Exposures in numbers, one a row; `early`: before the cut-off, and so was its click if there was one."""

    matrix: Floats
    slots: pl.DataFrame
    positions: NDArray[np.int64]
    clicks: Rows
    early: Rows

    def part(self, part: Part, *, early: bool) -> Rows:
        """Return which rows are of a part, before or after the cut-off."""
        chosen: Rows = (self.slots["part"] == part).to_numpy() & (self.early == early)
        return chosen


@dataclass(frozen=True, slots=True)
class Fit:
    """Trees and what belongs to them."""

    trees: lightgbm.Booster
    bias: float
    form: Form
    examination: list[float]
    explored: Mapping[str, int]
    """Exposures and clicks that the examination was estimated from."""
    rounds: int

    def attraction(self, matrix: Floats) -> Floats64:
        """Return the chance of a click if looked at, shape (rows,); matrix (rows, `FEATURES`)."""
        return sigmoid(self._logits(matrix, np.zeros(len(matrix), dtype=np.int64)))

    def click(self, matrix: Floats, positions: NDArray[np.int64]) -> Floats64:
        """Return the chance of a click at each row's position, shape (rows,)."""
        logits = self._logits(matrix, positions)
        at = examination.at(self.examination, positions)
        if self.form == "product":
            return at * sigmoid(logits)
        return sigmoid(logits + np.log(at)) if self.form == "offset" else sigmoid(logits)

    def _logits(self, matrix: Floats, positions: NDArray[np.int64]) -> Floats64:
        logits = self.trees.predict(_with_position(matrix, positions, self.form), raw_score=True)
        return np.asarray(logits, dtype=np.float64) + self.bias


def fold_of(user_id: str) -> int:
    """Return the fold of a shopper, by a hash that has nothing to do with the split's."""
    return hashlib.blake2b(f"fold:{user_id}".encode(), digest_size=1).digest()[0] % FOLDS


def build_table(
    log: Log, part: Part, cut_off: float, progress: Callable[[int], None] = lambda _: None
) -> tuple[Table, QueryStats]:
    """Return all exposures in numbers, and the query statistics of shoppers of `part` before `cut_off`.

    `progress` hears of exposures done.

    Raises:
        TooLittleData: nobody of the part did anything before the cut-off.
    """
    acts = log.acts.filter(pl.col("ts") < cut_off)
    learners = {user: fold_of(user) for user in acts["user_id"].unique() if part_of(user) == part}
    own = acts.filter(pl.col("user_id").is_in(pl.Series(list(learners), dtype=pl.String).implode()))
    if own.is_empty():
        raise TooLittleData(f"no shopper of the part {part} did anything before the cut-off; use logs of more shoppers")
    if log.slots.filter((pl.col("part") == part) & (pl.col("ts") < cut_off)).is_empty():
        raise TooLittleData(f"no exposure of the part {part} is before the cut-off; use logs of more shoppers")
    words = query_counts.ItemWords(log.items)
    number = pl.col("user_id").replace_strict(learners, return_dtype=pl.Int64)
    stats = query_counts.count(own, words, log.profiles)
    others = FactCache(stats)
    caches = [FactCache(query_counts.count(own.filter(number != one), words, log.profiles)) for one in range(FOLDS)]
    matrix = np.empty((log.slots.height, len(FEATURES)), dtype=np.float32)
    for moment in moments(log):
        own_fold = learners.get(moment.user_id) if moment.context.now < cut_off else None
        cache = others if own_fold is None else caches[own_fold]
        matrix[moment.rows] = features(cache, moment.context, moment.queries)
        progress(len(moment.queries))
    early = (log.slots["ts"] < cut_off).to_numpy()
    clicked = log.slots["clicked_at"]
    # What was shown before the cut-off and clicked after it is not yet clicked, for who learns at the cut-off.
    clicks = (clicked.is_not_null() & ((clicked < cut_off) | pl.Series(~early))).to_numpy()
    return Table(matrix, log.slots, log.slots["position"].cast(pl.Int64).to_numpy(), clicks, early), stats


def fit(table: Table, learned: Rows, tuned: Rows, form: Form, seed: int, threads: int) -> Fit:
    """Fit on the rows `learned`; the number of trees is the best for the rows `tuned`.

    Raises:
        TooLittleData: too few clicks, or nothing but clicks.
    """
    clicks = int(table.clicks[learned].sum())
    if clicks < MIN_CLICKS or clicks == learned.sum():
        raise TooLittleData(
            f"{int(learned.sum())} exposures to learn from have {clicks} clicks; a CTR ranker needs {MIN_CLICKS} "
            "clicks and some exposures without; use logs of more shoppers or of a longer time"
        )
    explored = learned & table.slots["explored"].to_numpy()
    found = {"exposures": int(explored.sum()), "clicks": int(table.clicks[explored].sum())}
    length = int(table.positions[learned].max()) + 1
    looked = examination.estimate(table.positions[explored], table.clicks[explored], length) or [1.0] * length
    sets: list[lightgbm.Dataset] = []
    facts: dict[int, tuple[Floats64, Rows]] = {}
    for rows in (learned, tuned):
        matrix = table.matrix[rows].copy()
        if rows is learned:
            matrix[_forgotten(table.slots.filter(pl.Series(rows)), seed), _SHOWN] = np.nan
        sets.append(
            lightgbm.Dataset(
                _with_position(matrix, table.positions[rows], form),
                table.clicks[rows].astype(np.float64),
                reference=sets[0] if sets else None,
                params={"max_bin": _PARAMETERS["max_bin"], "verbosity": -1},
                free_raw_data=False,
            )
        )
        facts[id(sets[-1])] = (examination.at(looked, table.positions[rows]), table.clicks[rows])
    rate = clicks / float(learned.sum())
    bias = float(np.log(rate / (1 - rate)))
    loss = _Loss(form, bias, facts)
    has_tuned = bool(table.clicks[tuned].any())
    trees = lightgbm.train(
        {**_PARAMETERS, "seed": seed, "num_threads": threads, "objective": loss.gradient, "metric": "None"},
        sets[0],
        num_boost_round=_MAX_ROUNDS if has_tuned else _MAX_ROUNDS // 4,
        valid_sets=[sets[1]] if has_tuned else None,
        feval=loss.measure if has_tuned else None,
        callbacks=[lightgbm.early_stopping(_PATIENCE, verbose=False)] if has_tuned else None,
    )
    rounds = trees.best_iteration or trees.current_iteration()
    trees = lightgbm.Booster(model_str=trees.model_to_string(num_iteration=rounds))
    return Fit(trees, bias, form, looked, found, rounds)


def _forgotten(slots: pl.DataFrame, seed: int) -> Rows:
    """Draw the requests whose counts of showings are hidden; shape (slots,)."""
    requests = slots["request_id"].rle_id().to_numpy()
    drawn = np.random.default_rng(seed).random(int(requests.max(initial=0)) + 1) < SHOWN_UNKNOWN
    found: Rows = drawn[requests]
    return found


def _with_position(matrix: Floats, positions: NDArray[np.int64], form: Form) -> Floats:
    return np.column_stack([matrix, positions.astype(np.float32)]) if form == "position" else matrix


class _Loss:
    """Log loss of a click, for LightGBM: first derivative and Fisher information by row, and its mean."""

    def __init__(self, form: Form, bias: float, facts: Mapping[int, tuple[Floats64, Rows]]) -> None:
        """`facts` are examination and clicks by row, by the `id` of a dataset."""
        self._form, self._bias, self._facts = form, bias, facts

    def _chances(self, scores: Floats64, at: Floats64) -> tuple[Floats64, Floats64]:
        """Return the chances of a click, and how each grows with the score, relative to itself."""
        logits = scores + self._bias
        if self._form == "product":
            attraction = sigmoid(logits)
            return np.minimum(at * attraction, 1 - 1e-6), 1 - attraction
        chances = sigmoid(logits + np.log(at)) if self._form == "offset" else sigmoid(logits)
        return chances, 1 - chances

    def gradient(self, scores: Floats64, data: lightgbm.Dataset) -> tuple[Floats64, Floats64]:
        """Return dL/dscore and its expected derivative, shape (rows,) each."""
        at, clicked = self._facts[id(data)]
        chances, slope = self._chances(scores, at)
        left = slope / (1 - chances)
        return (chances - clicked) * left, chances * slope * left

    def measure(self, scores: Floats64, data: lightgbm.Dataset) -> tuple[str, float, bool]:
        """Return the mean log loss."""
        at, clicked = self._facts[id(data)]
        chances, _ = self._chances(scores, at)
        return "log_loss", float(-np.log(np.where(clicked, chances, 1 - chances)).mean()), False
