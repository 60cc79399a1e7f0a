"""How good a CTR ranker is for shoppers it did not learn from: against clicks, and against the truth if it exists."""

import hashlib
import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from service.ranking.features import FEATURES
from workers.common.dataset import TRUTH, Dataset
from workers.training.ctr import Fit, Form, Table, fit
from workers.training.ctr_metrics import Rows, auc, by_decile, calibration_error, log_loss, measure, rounded, spearman

WITHHELD: Final = 0.2
"""Share of queries whose exposures are kept from a second fit, to see how it speaks of queries never exposed."""
ABLATIONS: Final[Sequence[Form]] = ("offset", "position", "none")
_SHOWN: Final = FEATURES.index("shown")


def groups(table: Table, learned: Rows) -> dict[str, Rows]:
    """Return the rows that are reported on, by name; none is among those `learned` from."""
    before, after = table.part("test", early=True), table.part("test", early=False)
    known = table.slots.filter(pl.Series(learned))["query"].unique()
    never = ~table.slots["query"].is_in(known.implode()).to_numpy()
    return {
        "test_before": before,
        "test_after": after,
        "test_explored": (before | after) & table.slots["explored"].to_numpy(),
        "test_never_exposed": (before | after) & never,
    }


def report(table: Table, learned: Rows, fitted: Fit, truth: pl.DataFrame | None) -> dict[str, dict[str, Any]]:
    """Return the figures of each group; with `truth`, also how near the scores come to it."""
    rate = float(table.clicks[learned].mean())
    found = {name: _figures(table, rows, fitted, truth, rate) for name, rows in groups(table, learned).items()}
    rows = table.part("test", early=True)
    forgotten = table.matrix[rows].copy()
    forgotten[:, _SHOWN] = np.nan
    found["test_before_shown_unknown"] = measure(
        table.clicks[rows], fitted.click(forgotten, table.positions[rows]), rate
    )
    return found


def withheld(
    table: Table, learned: Rows, tuned: Rows, truth: pl.DataFrame | None, seed: int, threads: int
) -> dict[str, Any]:
    """Return the figures, on test shoppers' exposures of a fifth of the queries, of a fit that saw none of these."""
    hidden = table.slots["query"].is_in(_hidden(table.slots["query"]).implode()).to_numpy()
    second = fit(table, learned & ~hidden, tuned & ~hidden, "product", seed, threads)
    rows = hidden & (table.slots["part"] == "test").to_numpy()
    return _figures(table, rows, second, truth, float(table.clicks[learned & ~hidden].mean()))


def ablations(
    table: Table, learned: Rows, tuned: Rows, truth: pl.DataFrame | None, seed: int, threads: int
) -> dict[str, dict[str, Any]]:
    """Return the figures on test shoppers, before and after the cut-off together, of other ways to treat position."""
    rate = float(table.clicks[learned].mean())
    rows = (table.slots["part"] == "test").to_numpy()
    fits = {form: fit(table, learned, tuned, form, seed, threads) for form in ABLATIONS}
    return {form: _figures(table, rows, one, truth, rate) for form, one in fits.items()}


def overall(table: Table, learned: Rows, fitted: Fit, truth: pl.DataFrame | None) -> dict[str, Any]:
    """Return the same figures of our own fit."""
    rows = (table.slots["part"] == "test").to_numpy()
    return _figures(table, rows, fitted, truth, float(table.clicks[learned].mean()))


def read_truth(dataset: Dataset, slots: pl.DataFrame) -> pl.DataFrame | None:
    """Return p_click and attraction by row of `slots`, for judging alone; None for real logs, which have no truth."""
    path = dataset.root / TRUTH / "clicks.parquet"
    if not path.exists():
        return None
    place = ["request_id", "position"]
    truth = pl.read_parquet(path, columns=[*place, "p_click", "attraction"])
    joined = slots.select(place).join(truth, on=place, how="left", maintain_order="left")
    return None if joined["p_click"].has_nulls() else joined


def plot(table: Table, fitted: Fit, truth: pl.DataFrame | None) -> bytes:
    """Return the calibration plot for test shoppers, before and after the cut-off, as PNG."""
    figure = Figure(figsize=(5.5, 5.0), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    for early, when in ((True, "before the cut-off"), (False, "after it")):
        rows = table.part("test", early=early)
        chances = fitted.click(table.matrix[rows], table.positions[rows])
        drawn = [("share clicked", table.clicks[rows].astype(np.float64), "o-")]
        if truth is not None:
            drawn.append(("true chance", truth["p_click"].to_numpy()[rows], "x--"))
        for what, observed, style in drawn:
            bins = by_decile(chances, observed)
            axes.plot([one[0] for one in bins], [one[1] for one in bins], style, label=f"{what}, {when}")
    axes.axline((0.1, 0.1), slope=1, color="grey", linewidth=0.8)
    axes.set(xscale="log", yscale="log", xlabel="predicted chance of a click", ylabel="what it was (deciles)")
    axes.legend()
    axes.grid(alpha=0.3)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def lines(figures: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Return a table's rows: group, exposures, clicks, AUC, log loss (of a constant), calibration error."""
    rows: list[tuple[str, ...]] = []
    for name, one in figures.items():
        low, high = one["auc_ci"]
        known = one["auc"] is not None
        rows.append(
            (
                name,
                f"{one['exposures']:,}",
                f"{one['clicks']:,}",
                f"{one['auc']:.3f} [{low:.3f}, {high:.3f}]" if known else "-",
                f"{one['log_loss']:.4f} ({one['log_loss_constant']:.4f})" if known else "-",
                f"{one['calibration_error']:.4f}" if known else "-",
            )
        )
    return rows


def _figures(table: Table, rows: Rows, fitted: Fit, truth: pl.DataFrame | None, rate: float) -> dict[str, Any]:
    matrix, clicks = table.matrix[rows], table.clicks[rows]
    chances = fitted.click(matrix, table.positions[rows]) if len(matrix) else np.empty(0)
    found = measure(clicks, chances, rate)
    if truth is None or not len(matrix):
        return found
    click, attraction = (truth[name].to_numpy()[rows] for name in ("p_click", "attraction"))
    return found | {
        "auc_of_truth": rounded(auc(clicks, click)),
        "log_loss_of_truth": rounded(log_loss(clicks, click)),
        "calibration_error_to_truth": rounded(calibration_error(chances, click)),
        "rank_correlation_with_attraction": rounded(spearman(fitted.attraction(matrix), attraction)),
    }


def _hidden(queries: pl.Series) -> pl.Series:
    """Return the queries that are withheld, by hash."""
    return pl.Series([query for query in queries.unique().sort() if _place(query) < WITHHELD], dtype=pl.String)


def _place(query: str) -> float:
    return hashlib.blake2b(f"withheld:{query}".encode(), digest_size=1).digest()[0] / 256
