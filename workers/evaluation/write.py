"""Writes a report: JSON for scripts, one page for people, and what was suggested for each case."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson
import polars as pl

from workers.common.report_page import render
from workers.evaluation import by_case
from workers.evaluation.plots import CAPTIONS, draw
from workers.evaluation.tables import tables

JSON: Final = "report.json"
PAGE: Final = "report.html"
_CASES: Final = (
    "One case a shopper. A hit is a normalised exact match with one of the next three searches after the cut-off. "
    "HR@6 is the share of cases with a hit among the first six; NDCG@10 and MRR@10 also tell how early hits come. "
    "Serving leaves out what was just searched, so novel targets (never searched before by that shopper) are "
    "reported on their own, and there every list is freed of the shopper's earlier searches."
)
_BASELINES: Final = (
    "Baselines learn from other shoppers than those of the cases, before the cut-off, and are tuned on a validation "
    "part, for all targets and for novel ones separately. Where a baseline knows too little, popular queries of "
    "shoppers like this one fill its list. Intervals: paired bootstrap over cases, 2,000 resamples."
)


def write(report: Mapping[str, Any], cases: pl.DataFrame, out: Path) -> Path:
    """Write `report.json`, the page and `cases.parquet` into the directory `out`; return the page's path."""
    out.mkdir(parents=True, exist_ok=True)
    cases.write_parquet(out / by_case.FILE)
    (out / JSON).write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2) + b"\n")
    page = out / PAGE
    html = render("AIGQ: offline evaluation", introduction(report), tables(report), draw(report), CAPTIONS)
    page.write_text(html, encoding="utf-8")
    return page


def introduction(report: Mapping[str, Any]) -> list[str]:
    """Return paragraphs on what was evaluated and how."""
    data = report["data"]
    cut = datetime.fromtimestamp(data["cut_off"], UTC).isoformat(timespec="minutes")
    sample = (
        f"Dataset {data['name']}: {data['cases']:,} of {data['available_cases']:,} test shoppers who search after the "
        f"cut-off {cut}; {data['learners']:,} shoppers to learn from, {data['validation_cases']:,} cases to tune on."
    )
    seconds = report["seconds"]
    stages = ", ".join(f"{stage} {took:.0f}" for stage, took in seconds.items())
    return [sample, f"It took {sum(seconds.values()):.0f} seconds: {stages}.", _CASES, _BASELINES]
