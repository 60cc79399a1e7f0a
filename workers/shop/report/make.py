"""Makes the report: reads a dataset, measures, judges, draws, and writes the page."""

import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from service.contracts.errors import ArtefactError
from workers.common.dataset import TRUTH, Dataset
from workers.common.report_page import render
from workers.common.split import cut_off
from workers.shop.catalogue import Shop
from workers.shop.generate import generate
from workers.shop.report.baselines import Baselines
from workers.shop.report.cases import lives
from workers.shop.report.difficulty import ORACLES, Difficulty, HitRates, Oracles, judge
from workers.shop.report.figures import Figures, measure
from workers.shop.report.plots import CAPTIONS, draw
from workers.shop.report.tables import Table, difficulty_table, figures_table, findings_table, published_table

PAGE: Final = "report.html"
_TIMED_SHOPPERS: Final = 2000
_TIMED_WARM_UP: Final = 50
_HIT: Final = (
    "HR@6: one case a shopper of the part test who searches after the cut-off, the start of the period's last sixth: "
    "the cases of aigq evaluate (nobody without consent), but for bots. A hit is one of the next three searches, word "
    "for word (normalised), among six suggestions; novel: one not made before, by lists without those made before. "
    "Baselines learn from what all shoppers with consent did before the cut-off."
)
_ORACLES: Final = (
    "oracle knows the true state (needs, interests, tastes, habits) and lets the simulation play on from it {futures} "
    "times, with other luck; oracle_visible does so from states drawn to agree with what the logs show. Both know "
    "the shop's rates, and when the next visit begins. Futures are finitely many, and drawn states only approximate "
    "the posterior: both are lower bounds of what is possible."
)
_SPEED: Final = (
    f"Speed: events a second of CPU time, measured for this report by generating {_TIMED_SHOPPERS:,} shoppers "
    "after a smaller run, setup included."
)
_UNKNOWN: Final = (
    "Not found in public: click-through rates of search-box hints by slot, and category entropy a shopper; for these "
    "only the shape is compared."
)


@dataclass(frozen=True, slots=True)
class Report:
    """What was found in a dataset."""

    figures: Figures
    difficulty: Difficulty
    events_per_s: float

    def tables(self) -> list[Table]:
        """Return the report's tables, the most asked for first."""
        return [
            difficulty_table(self.difficulty),
            figures_table(self.figures, self.events_per_s),
            published_table(self.figures),
            findings_table(self.figures),
        ]

    def summary(self) -> dict[str, Any]:
        """Return the figures that scripts read."""
        found = self.difficulty
        everywhere, same = found.all_cases, found.same_cases
        return {
            "events_per_s": self.events_per_s,
            "distinct_queries": self.figures.distinct_queries,
            "zipf_slope": self.figures.zipf_slope,
            "queries_per_session": self.figures.queries_per_session,
            "repeat_share": self.figures.repeat_share,
            "ctr_by_position": self.figures.ctr_by_position,
            "cold_share": self.figures.cold_share,
            "entropy_bits": self.figures.entropy_bits,
            "cases": everywhere["popular"].cases,
            "baselines": {name: _score(rate) for name, rate in everywhere.items()},
            "oracle_cases": same["oracle"].cases,
            "baselines_on_oracle_cases": {name: _score(same[name]) for name in everywhere},
            **{name: _score(same[name]) for name in ORACLES},
            **{view: _view(rates) for view, rates in (("cold", found.cold), ("novel", found.novel))},
        }


def _score(found: tuple[float, float, float, int]) -> dict[str, float]:
    rate, low, high, _ = found
    return {"hr@6": rate, "low": low, "high": high}


def _view(rates: HitRates) -> dict[str, Any]:
    """Return some of the oracles' cases: how many, and each method, oracles too."""
    return {"cases": rates["oracle"].cases, "methods": {name: _score(found) for name, found in rates.items()}}


def speed(shop: Shop, days: int, seed: int) -> float:
    """Return the events that one core generates a second (CPU time), measured on a small run after a smaller one."""
    took = 0.0
    with tempfile.TemporaryDirectory() as folder:
        # The first fills caches, which a long run has full nearly all the time.
        for shoppers in (_TIMED_SHOPPERS // 10, _TIMED_SHOPPERS):
            began, root = time.process_time(), Path(folder) / str(shoppers)
            made = generate(root, shoppers=shoppers, days=days, seed=seed, shop=shop, warm_up=_TIMED_WARM_UP)
            took = time.process_time() - began
    return float(made["events"]) / took


def make(
    root: Path,
    *,
    shoppers: int,
    cases: int,
    futures: int,
    advance: Callable[[], None],
    shop: Shop | None = None,
    timed: bool = True,
) -> Report:
    """Return the report on a dataset's first `shoppers`; the oracles judge `cases` by `futures` imagined futures each.

    `advance` is called twice a case; `shop` spares reading the catalogue again; `timed` measures the generator.

    Raises:
        ArtefactError: not a dataset of this sample shop.
    """
    dataset = Dataset(root)
    truth = root / TRUTH / "shoppers.parquet"
    if dataset.manifest.get("source") != "shop" or not truth.exists():
        raise ArtefactError(f"{truth}: missing; the report needs what only the sample shop knows: aigq shop generate")
    shop = shop or Shop()
    manifest = dataset.manifest
    # First, while the process is small: what is in memory slows the generator down.
    events_per_s = speed(shop, manifest["days"], manifest["seed"]) if timed else math.nan
    profiles = dataset.profiles().head(shoppers)
    last = profiles["user_id"][-1]
    # Row groups beyond the last shopper are never read.
    events = dataset.scan_events().filter(pl.col("user_id") <= last).collect()
    bots = pl.read_parquet(truth).filter(pl.col("nature") == "bot")["user_id"]
    refused = profiles.filter(~pl.col("consent"))["user_id"]
    cut = cut_off(manifest)
    people = list(lives(events, profiles, cut, frozenset([*bots, *refused])))
    baselines = Baselines.learn(people)
    oracles = Oracles(dataset, people, events, cut, cases=cases, shop=shop)
    methods = oracles.methods(baselines, futures, manifest["seed"], advance)
    return Report(
        figures=measure(events, dataset.items(), profiles.height),
        difficulty=judge(people, baselines, methods, oracles.sample, oracles.left_out, manifest["seed"]),
        events_per_s=events_per_s,
    )


def write(report: Report, dataset: Dataset, out: Path, futures: int) -> Path:
    """Write plots and page into the directory `out`; return the page's path."""
    manifest, found = dataset.manifest, report.difficulty
    plots = draw(report.figures, found)
    out.mkdir(parents=True, exist_ok=True)
    for name, png in plots.items():
        (out / f"{name}.png").write_bytes(png)
    intro = [
        _about(dataset.root.name, manifest, report.figures.shoppers),
        _HIT,
        _ORACLES.format(futures=futures),
        f"{found.left_out} of the oracles' cases were left out because the replay did not repeat them exactly.",
        _SPEED,
        _UNKNOWN,
    ]
    page = out / PAGE
    page.write_text(render("The sample shop's logs", intro, report.tables(), plots, CAPTIONS), encoding="utf-8")
    return page


def _about(name: str, manifest: dict[str, Any], shoppers: int) -> str:
    return (
        f"Dataset {name}: seed {manifest['seed']}, {manifest['shoppers']:,} shoppers, {manifest['days']} days, shop "
        f"{manifest['shop_hash']}; figures of its first {shoppers:,} shoppers."
    )
