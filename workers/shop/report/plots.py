"""The report's plots, drawn with matplotlib into PNG bytes."""

import io
from collections.abc import Sequence
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from workers.shop.report.difficulty import Difficulty
from workers.shop.report.figures import Figures

_SIZE: Final = (6.4, 3.8)
_DPI: Final = 110
_BLUE: Final = "#2a6f97"
_GREY: Final = "#8d99ae"
_MOST_ACTS: Final = 30
CAPTIONS: Final = {
    "rank_frequency": "Rank and frequency of queries.",
    "session_length": "Acts (searches, clicks, carts, purchases, clicks on hints) in a session.",
    "gaps": "Time between two acts of a shopper: within a session on the left, between sessions on the right.",
    "ctr_by_position": "Clicks on hints by slot. The chance of being looked at and the hints themselves get worse.",
    "category_entropy": "How many leaf categories a shopper's clicks spread over.",
    "difficulty": "Hit rates on the same cases. Grey: oracles, which no deployed method can be.",
}
_STYLE: Final[dict[Any, Any]] = {"axes.spines.top": False, "axes.spines.right": False, "font.size": 10}


def draw(figures: Figures, difficulty: Difficulty | None) -> dict[str, bytes]:
    """Return PNG bytes by a name in `CAPTIONS`, their file name without suffix."""
    plots = {
        "rank_frequency": _rank_frequency(figures),
        "session_length": _session_length(figures),
        "gaps": _gaps(figures),
        "ctr_by_position": _ctr(figures),
        "category_entropy": _entropy(figures),
    }
    if difficulty is not None:
        plots["difficulty"] = _difficulty(difficulty)
    return plots


def _axes(x: str, y: str) -> tuple[Figure, Any]:
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=_SIZE, dpi=_DPI, layout="constrained")
        axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return figure, axes


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    # Without the version of matplotlib, equal figures give equal bytes on any release.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _rank_frequency(figures: Figures) -> bytes:
    figure, axes = _axes("rank of the query", "searches")
    ranks = np.arange(1, len(figures.frequencies) + 1)
    axes.loglog(ranks, figures.frequencies, color=_BLUE, label=f"ours, fitted slope {figures.zipf_slope:.2f}")
    if len(ranks):
        axes.loglog(ranks, figures.frequencies[0] / ranks, color=_GREY, linestyle=":", label="slope -1 (Zipf)")
    axes.set_ylim(bottom=0.8)
    axes.legend(frameon=False)
    return _png(figure)


def _session_length(figures: Figures) -> bytes:
    figure, axes = _axes("acts in a session", "share of sessions")
    counts = np.array(figures.session_acts[: _MOST_ACTS + 1])
    axes.bar(np.arange(len(counts)), counts / max(sum(figures.session_acts), 1), color=_BLUE)
    return _png(figure)


def _gaps(figures: Figures) -> bytes:
    figure, axes = _axes("seconds between two acts of a shopper", "gaps")
    axes.stairs(figures.gap_counts, figures.gap_bins, fill=True, color=_BLUE)
    axes.set_xscale("log")
    for seconds, name in ((60, "minute"), (3600, "hour"), (86400, "day"), (604800, "week")):
        axes.axvline(seconds, color=_GREY, linewidth=0.8, linestyle=":")
        axes.text(seconds, axes.get_ylim()[1], f" {name}", color=_GREY, fontsize=8, va="top")
    return _png(figure)


def _ctr(figures: Figures) -> bytes:
    figure, axes = _axes("slot of the hint (0 is first)", "clicks an exposure")
    slots = range(len(figures.ctr_by_position))
    axes.bar(slots, figures.ctr_by_position, color=_BLUE, width=0.5)
    axes.set_xticks(slots)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    return _png(figure)


def _entropy(figures: Figures) -> bytes:
    figure, axes = _axes("entropy of a shopper's clicks over leaf categories, bits", "shoppers")
    axes.hist(figures.entropies, bins=30, color=_BLUE)
    return _png(figure)


def _difficulty(difficulty: Difficulty) -> bytes:
    figure, axes = _axes("HR@6, 95% interval", "")
    names: Sequence[str] = list(difficulty.same_cases)
    for place, name in enumerate(names):
        found = difficulty.same_cases[name]
        axes.errorbar(
            found.rate,
            place,
            xerr=[[found.rate - found.low], [found.high - found.rate]],
            fmt="o",
            color=_BLUE if "oracle" not in name else _GREY,
            capsize=3,
        )
    axes.set_yticks(range(len(names)), names)
    axes.set_xlim(left=0)
    return _png(figure)
