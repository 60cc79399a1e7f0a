"""The report's tables as plain rows: the terminal and the page show the same."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from workers.shop.report.cases import HitRate
from workers.shop.report.difficulty import Difficulty
from workers.shop.report.figures import Figures
from workers.shop.report.published import COMPARISONS, FINDINGS


class Table(NamedTuple):
    """A title, column heads and rows of cells; a terminal has room for the first `brief` columns."""

    title: str
    heads: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    brief: int
    about: str = ""


def figures_table(figures: Figures, events_per_s: float) -> Table:
    """Return what was measured."""
    rows = [
        ("events", f"{figures.events:,}"),
        ("shoppers", f"{figures.shoppers:,}"),
        ("searches", f"{figures.searches:,}"),
        ("distinct queries", f"{figures.distinct_queries:,}"),
        ("distinct queries that occur once", _percent(figures.once_share)),
        ("searches that ask one of the top 25 queries", _percent(figures.head_share)),
        ("slope of frequency over rank (log-log)", f"{figures.zipf_slope:.2f}"),
        ("queries a session (of sessions with one)", f"{figures.queries_per_session:.2f}"),
        ("sessions with one query", _percent(figures.one_query_sessions)),
        ("acts a session: mean, median", f"{figures.acts_per_session:.1f}, {figures.acts_per_session_median:.0f}"),
        ("gap between acts: median", f"{figures.median_gap_s:.0f} s"),
        ("gaps under an hour", _percent(figures.gaps_under_hour)),
        ("searches made before by the same shopper", _percent(figures.repeat_share)),
        ("... in an earlier session", _percent(figures.repeat_in_other_session)),
        ("CTR of hints by position", ", ".join(map(_percent, figures.ctr_by_position))),
        ("carts a click, purchases a click", f"{figures.carts_per_click:.3f}, {figures.purchases_per_click:.3f}"),
        ("cold shoppers (two acts or fewer)", _percent(figures.cold_share)),
        ("category entropy a shopper", f"{figures.entropy_bits:.2f} bits"),
        (
            "events generated a second of one core",
            "not measured" if math.isnan(events_per_s) else f"{events_per_s:,.0f}",
        ),
    ]
    return Table("What the logs look like", ("figure", "value"), rows, 2)


def published_table(figures: Figures) -> Table:
    """Return ours beside published figures."""
    rows = []
    for row in COMPARISONS:
        ours = row.ours(figures)
        shown = f"{ours:.2f}" if abs(row.high) >= 1 else _percent(ours)
        verdict = "resembles" if row.resembles(figures) else "differs"
        rows.append((row.what, row.published, shown, verdict, row.note, row.source.name, row.source.url))
    return Table(
        "Published figures (within a fifth: resembles)",
        ("figure", "published", "ours", "verdict", "why, or how to read it", "source", "read at"),
        rows,
        4,
    )


def findings_table(figures: Figures) -> Table:
    """Return published shapes and what ours does."""
    rows = [(row.what, row.published, row.ours(figures), row.source.name, row.source.url) for row in FINDINGS]
    return Table("Published shapes", ("what", "published", "ours", "source", "read at"), rows, 3)


def difficulty_table(difficulty: Difficulty) -> Table:
    """Return hit rates, weakest method first as given."""
    views = {
        "HR@6, oracles' cases": difficulty.same_cases,
        "of them with a history": difficulty.with_history,
        "cold": difficulty.cold,
        "novel": difficulty.novel,
    }
    every = next(iter(difficulty.all_cases.values())).cases
    rows = [
        (name, *(_rate(rates[name]) for rates in views.values()), _rate_or_none(difficulty, name))
        for name in difficulty.same_cases
    ]
    heads = ("method", *(f"{view} ({rates['oracle'].cases:,})" for view, rates in views.items()), f"all ({every:,})")
    return Table("How hard it is to foresee the next searches", heads, rows, 6)


def _rate_or_none(difficulty: Difficulty, name: str) -> str:
    return _rate(difficulty.all_cases[name]) if name in difficulty.all_cases else ""


def _rate(found: HitRate) -> str:
    return f"{found.rate:.3f} [{found.low:.3f}, {found.high:.3f}]" if found.cases else "no cases"


def _percent(value: float) -> str:
    return "none" if math.isnan(value) else f"{value:.1%}"
