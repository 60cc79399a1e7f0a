"""The report's plots, drawn with matplotlib into PNG bytes."""

import io
from collections.abc import Mapping
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure

_SIZE: Final = (6.4, 4.2)
_DPI: Final = 110
_BLUE: Final = "#2a6f97"
_GREY: Final = "#8d99ae"
_COLOURS: Final = ("#8d99ae", "#2a6f97", "#e07a5f")
_STYLE: Final[dict[Any, Any]] = {"axes.spines.top": False, "axes.spines.right": False, "font.size": 10}
CAPTIONS: Final = {
    "all": "HR@6 on the next three searches, with 95% intervals. Grey: baselines.",
    "novel": "HR@6 on next searches that the shopper had not made before. Grey: baselines.",
    "history": "HR@6 on novel searches by how much is known of the shopper: 0 to 2 events, to 30, more.",
    "target": "HR@6 on novel searches by how frequent they are: thirds of all searches, most frequent queries first.",
}


def draw(report: Mapping[str, Any]) -> dict[str, bytes]:
    """Return PNG bytes by a name in `CAPTIONS`."""
    return {
        "all": _intervals(report, ""),
        "novel": _intervals(report, "novel_"),
        **{kind: _strata(report["strata"][kind]) for kind in ("history", "target")},
    }


def _axes(x: str) -> tuple[Figure, Any]:
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=_SIZE, dpi=_DPI, layout="constrained")
        axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    return figure, axes


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    # Without the version of matplotlib, equal figures give equal bytes on any release.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _intervals(report: Mapping[str, Any], prefix: str) -> bytes:
    figure, axes = _axes("HR@6, 95% interval")
    methods = report["methods"]
    for place, (name, found) in enumerate(methods.items()):
        interval = found.get(f"{prefix}hr@6_ci")
        if interval is None:
            continue
        rate = found[f"{prefix}hr@6"]
        errors = [[max(0.0, rate - interval[0])], [max(0.0, interval[1] - rate)]]
        colour = _GREY if name in report["tuned"] else _BLUE
        axes.errorbar(rate, place, xerr=errors, fmt="o", color=colour, capsize=3)
    axes.set_yticks(range(len(methods)), list(methods))
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    return _png(figure)


def _strata(some: Mapping[str, Any]) -> bytes:
    figure, axes = _axes("HR@6, novel searches")
    names = list(next(iter(some.values()))["methods"])
    height = 0.8 / len(some)
    for place, (stratum, found) in enumerate(some.items()):
        rates = [found["methods"][name]["novel_hr@6"] or 0.0 for name in names]  # None where there are no cases
        rows = [row + (place - (len(some) - 1) / 2) * height for row in range(len(names))]
        label = f"{stratum} ({found['novel_cases']:,})"
        axes.barh(rows, rates, height=height, color=_COLOURS[place % len(_COLOURS)], label=label)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    figure.legend(loc="outside upper center", ncols=len(some), frameon=False)  # never over a bar
    return _png(figure)
