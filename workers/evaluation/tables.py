"""The report's tables as plain rows: the terminal and the page show the same."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from workers.evaluation import oracles, shown
from workers.evaluation.metrics import SHOWN
from workers.evaluation.strata import COLD_EVENTS, HEAVY_EVENTS

Row = tuple[str, ...]
_NOTHING: Final = "-"
_STRATA: Final = {
    "history": f"Cold: at most {COLD_EVENTS} events before the cut-off; warm: at most {HEAVY_EVENTS}; heavy: more.",
    "target": "By how frequent the next search is: head is the most frequent queries up to a third of all searches.",
    "item": "Whether learners met the item that the shopper touched last; who touched none is in neither.",
    "locale": "By the locale of the shopper's profile.",
}


class Table(NamedTuple):
    """A title, a sentence on how to read it, column heads and rows of cells; `brief`: shown in a terminal too."""

    title: str
    about: str
    heads: Row
    rows: Sequence[Row]
    brief: bool


def tables(report: Mapping[str, Any]) -> list[Table]:
    """Return all tables of a report, the most asked for first."""
    return [
        _hits(report, "", "Next searches", "all"),
        _hits(report, "novel_", "Next searches that the shopper had not made before", "novel"),
        *([_oracles(report["oracles"])] if "oracles" in report else []),
        _lists(report),
        *([_generation(report)] if "generation" in report else []),
        *(of(kind, some) for kind, some in report["strata"].items() for of in (_strata, _strata_ratios)),
        _tuning(report),
        *(_shopper(place, one) for place, one in enumerate(report.get("shown", ()), 1)),
    ]


def _hits(report: Mapping[str, Any], prefix: str, title: str, view: str) -> Table:
    best = report["best_baseline"][view]
    cases = report["data"]["novel_cases" if prefix else "cases"]
    rows = [
        (
            name,
            *(percent(found[f"{prefix}hr@{k}"]) for k in (3, 6, 10)),
            _interval(found.get(f"{prefix}hr@6_ci"), percent),
            _number(found[f"{prefix}ndcg@10"]),
            _number(found[f"{prefix}mrr@10"]),
            _number(found.get(f"{prefix}vs_best"), 2),
            _interval(found.get(f"{prefix}vs_best_ci"), lambda value: _number(value, 2)),
        )
        for name, found in report["methods"].items()
    ]
    heads = ("method", "HR@3", "HR@6", "HR@10", "HR@6, 95%", "NDCG@10", "MRR@10", f"/ {best}", "95%")
    return Table(
        f"{title} ({cases:,} cases)",
        f"The last columns: HR@6 over that of {best}, the best baseline here.",
        heads,
        rows,
        brief=True,
    )


def _oracles(views: Mapping[str, Any]) -> Table:
    rows = [
        (name, *(f"{percent(one[name]['hr@6'])} [{_interval(_span(one[name]), percent)}]" for one in views.values()))
        for name in oracles.NAMES
    ]
    about = "HR@6 by the shop's own report: the same cut-off and the first of these shoppers, bots left out."
    heads = ("oracle", *(f"{view} ({one['cases']:,})" for view, one in views.items()))
    return Table("What is possible: oracles", about, heads, rows, brief=True)


def _span(found: Mapping[str, float | None]) -> tuple[float | None, float | None]:
    return found["low"], found["high"]


def _lists(report: Mapping[str, Any]) -> Table:
    rows = [
        (
            name,
            percent(found["in_catalogue"]),
            percent(found["distinct"]),
            percent(found["coverage"]),
            percent(found["coverage@6"]),
            _number(found["novelty_bits"], 1),
            _number(found["length"], 1),
            _number(found.get("judge@6")),
            _interval(found.get("judge@6_ci"), _number),
        )
        for name, found in report["methods"].items()
    ]
    real = report["targets"]
    rows.append(("(real searches)", percent(real["in_catalogue"]), "", percent(real["coverage"]), "", "", "", "", ""))
    heads = ("method", "in catalogue", "distinct", "categories", "of 6", "novelty", "length", "judge", "95%")
    items = report["data"]["min_items"]
    about = (
        f"In catalogue: all content words together in {items} {'item' if items == 1 else 'items'}. "
        "Categories: share of them "
        "that lists (of 6: their first six) reach. Novelty in bits. "
        "Judge (--judge): clicks that a CTR ranker of other shoppers predicts on the first six, if all are looked at."
    )
    return Table("What the lists are like (novel lists)", about, heads, rows, brief=True)


def _generation(report: Mapping[str, Any]) -> Table:
    rows = [
        (
            name,
            percent(found["format_valid"]),
            percent(found["in_catalogue"]),
            percent(found["dup_rate"]),
            percent(found["nothing_rate"]),
            _number(found["tokens_compressed"], 1),
            _number(found["tokens_plain"], 1),
        )
        for name, found in report["generation"].items()
    ]
    heads = ("model", "format valid", "in catalogue", "duplicate lines", "unknown words", "prompt tokens", "plain")
    return Table("Generations, before the parser drops lines", "", heads, rows, brief=True)


def _strata(kind: str, some: Mapping[str, Any]) -> Table:
    names = list(next(iter(some.values()))["methods"])
    heads = ("method", *(f"{name}{view} ({found[count]:,})" for name, found in some.items()
                         for view, count in (("", "cases"), (", novel", "novel_cases"))))  # fmt: skip
    rows = [
        (
            name,
            *(
                percent(found["methods"][name][f"{prefix}hr@6"])
                for found in some.values()
                for prefix in ("", "novel_")
            ),
        )
        for name in names
    ]  # fmt: skip
    about = f"{_STRATA[kind]} The number of cases is in brackets."
    return Table(f"HR@6 by {kind}", about, heads, rows, brief=kind == "history")


def _strata_ratios(kind: str, some: Mapping[str, Any]) -> Table:
    names = list(next(iter(some.values()))["methods"])
    views = [(one, view, prefix) for one in some.items() for view, prefix in (("all", ""), ("novel", "novel_"))]
    heads = (
        "method",
        *(
            f"{name}{', novel' * bool(prefix)} / {found['best_baseline'][view] or _NOTHING}"
            for (name, found), view, prefix in views
        ),
    )
    rows = [(name, *(_ratio(found["methods"][name], prefix) for (_, found), _, prefix in views)) for name in names]
    about = "Each stratum has the baseline that is best in it; 95% intervals, paired."
    return Table(f"HR@6 over the best baseline, by {kind}", about, heads, rows, brief=kind == "history")


def _ratio(found: Mapping[str, Any], prefix: str) -> str:
    value, pair = found.get(f"{prefix}vs_best"), found.get(f"{prefix}vs_best_ci")
    return _number(value, 2) if pair is None else f"{_number(value, 2)} [{pair[0]:.2f}, {pair[1]:.2f}]"


def _shopper(place: int, one: shown.Shown) -> Table:
    profile = ", ".join(one["profile"].values())
    title = f"Shopper {place}: {one['user_id']}, {one['events']:,} events{f', {profile}' if profile else ''}"
    return Table(title, "", ("", f"the first {SHOWN}, as served; ✓: searched next"), shown.lines(one), brief=True)


def _tuning(report: Mapping[str, Any]) -> Table:
    rows = [
        (
            name,
            _params(found["all"]),
            percent(found["validation_hr@6"]),
            _params(found["novel"]),
            percent(found["validation_novel_hr@6"]),
        )
        for name, found in report["tuned"].items()
    ]
    heads = ("baseline", "for all targets", "HR@6", "for novel targets", "HR@6")
    about = f"Chosen on {report['data']['validation_cases']:,} validation cases, on which HR@6 is given."
    return Table("How baselines were tuned", about, heads, rows, brief=False)


def _params(params: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {'all' if value is None else value}" for name, value in params.items())


def percent(value: float | None) -> str:
    """Return a share as a percentage with one decimal, or a dash."""
    return _NOTHING if value is None or math.isnan(value) else f"{value:.1%}"


def _number(value: float | None, digits: int = 3) -> str:
    return _NOTHING if value is None or math.isnan(value) else f"{value:.{digits}f}"


def _interval(pair: Sequence[float | None] | None, shown: Any) -> str:
    return _NOTHING if pair is None else f"{shown(pair[0])} to {shown(pair[1])}"
