"""CTR training from logs to a ranker: what it may see, and that it learns what is there to learn."""

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
import pytest
import typer
from typer.testing import CliRunner

from service.contracts.codecs import BehaviourEntry
from service.contracts.errors import ArtefactError
from service.ranking.catalogue import CALIBRATION, Item, current_version
from service.ranking.ctr import CtrMeta, CtrScorer, save
from service.ranking.fact_cache import FactCache
from service.ranking.features import FEATURES, features
from service.ranking.shopper_context import ShopperContext
from workers.common import commands
from workers.common.dataset import EVENT_SCHEMA, ITEM_SCHEMA, PROFILE_SCHEMA, Dataset, DatasetWriter
from workers.common.split import part_of
from workers.training import ctr, ctr_commands, exposures

START = 1_790_812_800.0  # 2026-10-01
END = START + 30 * 86400
CUT = END - 5 * 86400
QUERIES = ("tent", "stove", "perfume", "cologne")
Line = dict[str, Any]


def line(user: str, ts: float, kind: str, **fields: Any) -> Line:
    """Return one log line."""
    return {"user_id": user, "ts": ts, "type": kind, **fields}


def request(user: str, ts: float, name: str, queries: list[str], clicked: int | None, explored: int = -1) -> list[Line]:
    """Return the lines of one request: served, seen, clicked."""
    ids = {"request_id": name}
    propensity = [0.01 if place == explored else 0.9 for place in range(len(queries))]
    lines = [line(user, ts, "hint_served", queries=queries, propensity=propensity, **ids)]
    lines += [
        line(user, ts + 1, "hint_exposure", query=query, position=place, **ids) for place, query in enumerate(queries)
    ]
    if clicked is not None:
        lines.append(line(user, ts + 9, "hint_click", query=queries[clicked], position=clicked, **ids))
    return lines


def write(root: Path, lines: list[Line]) -> Dataset:
    """Write a dataset of these lines and four items."""
    with DatasetWriter(root) as writer:
        rows = sorted(lines, key=lambda one: (one["user_id"], one["ts"]))
        writer.write_events(0, pa.Table.from_pylist(rows, EVENT_SCHEMA))
        items = [
            {"item_id": "i-tent", "title": "Dome Tent", "category": "Outdoors > Tents", "price": 80.0},
            {"item_id": "i-stove", "title": "Gas Stove", "category": "Outdoors > Stoves", "price": 30.0},
            {"item_id": "i-perfume", "title": "Rose Perfume", "category": "Beauty > Perfume"},
            {"item_id": "i-cologne", "title": "Oak Cologne"},
        ]
        writer.write("items.parquet", pa.Table.from_pylist(items, ITEM_SCHEMA))
        profiles = [{"user_id": user, "segment": "campers", "consent": user != "refuses"}
                    for user in sorted({one["user_id"] for one in lines})]  # fmt: skip
        writer.write("profiles.parquet", pa.Table.from_pylist(profiles, PROFILE_SCHEMA))
        writer.close({"from": "2026-10-01T00:00:00+00:00", "to": "2026-10-31T00:00:00+00:00"})
    return Dataset(root)


def shop(shoppers: int = 400) -> list[Line]:
    """Return the log of shoppers who look at one category, and click a hint of it if it is shown and looked at."""
    rng = np.random.default_rng(5)
    lines: list[Line] = []
    for number in range(shoppers):
        user, likes = f"u{number:04d}", QUERIES[number % 3]
        ts = START + float(rng.uniform(0, 28 * 86400))
        lines += [line(user, ts, "search", query=likes), line(user, ts + 60, "click", item_id=f"i-{likes}")]
        for visit in range(6):
            order = [str(query) for query in rng.permutation(QUERIES[:3])]
            place = order.index(likes)
            looked = rng.random() < (1.0, 0.6, 0.3)[place]
            lines += request(
                user, ts + 3600 * (visit + 1), f"{user}-r{visit}", order, place if looked else None, visit % 3
            )
    return lines


@pytest.fixture(scope="module")
def shop_log(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, exposures.Log]:
    """A log with something to learn."""
    dataset = write(tmp_path_factory.mktemp("shop") / "data", shop())
    return dataset, exposures.read_log(dataset)


def test_seen_is_what_the_server_served(tmp_path: Path) -> None:
    """A client's query, shopper and position are claims: they count only where a served line bears them out."""
    lines = [
        *request("a", START, "r1", ["Tent ", "stove"], 1),
        line("a", START + 2, "hint_exposure", request_id="r1", position=7, query="never served"),
        line("b", START + 2, "hint_click", request_id="r1", position=0, query="tent"),
        line("a", START + 2, "hint_exposure", request_id="r1", position=0, query="seen twice"),
        line("a", START + 2, "hint_exposure", request_id="unknown", position=0, query="tent"),
    ]
    log = exposures.read_log(write(tmp_path / "data", lines))
    assert log.slots["query"].to_list() == ["tent", "stove"]
    assert log.slots["clicked_at"].is_not_null().to_list() == [False, True]
    assert log.unmatched == 3


def test_served_but_not_seen_is_no_exposure(tmp_path: Path) -> None:
    """What nobody scrolled to teaches nothing; a click is proof that it was seen."""
    lines = [one for one in request("a", START, "r1", list(QUERIES), 2) if one["type"] != "hint_exposure"]
    assert exposures.read_log(write(tmp_path / "data", lines)).slots["query"].to_list() == ["perfume"]


def test_shoppers_without_consent_are_left_out(tmp_path: Path) -> None:
    """Neither their exposures nor their searches."""
    lines = [*request("refuses", START, "r1", ["tent"], 0), *request("a", START, "r2", ["stove"], None)]
    lines.append(line("refuses", START, "search", query="tent"))
    log = exposures.read_log(write(tmp_path / "data", lines))
    assert set(log.slots["user_id"]) | set(log.acts["user_id"]) == {"a"}


def test_logs_without_exposures_say_so(tmp_path: Path) -> None:
    """The caller goes on without a ranker."""
    for number, lines in enumerate([[line("a", START, "search", query="tent")], []]):
        with pytest.raises(ArtefactError, match="no hint exposures"):
            exposures.read_log(write(tmp_path / f"data{number}", lines))
    claims = [one for one in request("a", START, "r", ["tent"], 0) if one["type"] != "hint_served"]
    with pytest.raises(ArtefactError, match="hint_served"):
        exposures.read_log(write(tmp_path / "claims", claims))


def test_of_a_long_log_a_sample_of_shoppers_is_taken(tmp_path: Path) -> None:
    """Whole shoppers, the same ones each time."""
    dataset = write(tmp_path / "data", shop(100))
    logs = [exposures.read_log(dataset, 300) for _ in range(2)]
    assert logs[0].slots.equals(logs[1].slots)
    assert 150 < logs[0].slots["request_id"].n_unique() < 450
    assert (logs[0].slots.group_by("user_id").agg(pl.col("request_id").n_unique())["request_id"] == 6).all()


def test_a_moment_knows_only_what_came_before(tmp_path: Path) -> None:
    """Not the click that the request led to, nor anything later; and showings count until a click or a search."""
    lines = [
        line("a", START, "search", query="Tent"),
        *request("a", START + 100, "r1", ["stove", "tent"], None),
        *request("a", START + 200, "r2", ["stove", "tent"], 0),
        *request("a", START + 300, "r3", ["stove", "tent"], None),
    ]
    moments = list(exposures.moments(exposures.read_log(write(tmp_path / "data", lines))))
    assert [[(one.type, one.ref) for one in moment.context.behaviour] for moment in moments] == [
        [("search", "tent")], [("search", "tent")], [("hint_click", "stove"), ("search", "tent")],
    ]  # fmt: skip
    assert [moment.context.shown for moment in moments] == [
        {"stove": 0, "tent": 0}, {"stove": 1, "tent": 1}, {"stove": 0, "tent": 2},
    ]  # fmt: skip


def test_training_and_serving_compute_the_same(shop_log: tuple[Dataset, exposures.Log]) -> None:
    """The row in the training table is what the service would compute from what it has at that moment."""
    _, log = shop_log
    table, stats = ctr.build_table(log, "train", CUT)
    moment = next(m for m in exposures.moments(log) if log.slots["part"][m.rows.start] == "test")
    raw = [BehaviourEntry(one.type, round(one.ts, 3), one.ref.upper() if one.type == "search" else one.ref)
           for one in moment.context.behaviour]  # fmt: skip
    items = {"i-tent": Item("i-tent", "Dome Tent", "Outdoors > Tents", 80.0), **moment.context.items}
    online = ShopperContext(moment.context.now, raw[::-1], {"segment": "campers"}, items, moment.context.shown)
    served = features(FactCache(stats), online, moment.queries)
    assert np.allclose(served, table.matrix[moment.rows], equal_nan=True, atol=1e-6)


def test_own_searches_do_not_tell_the_label(tmp_path: Path) -> None:
    """A query's counts, for a shopper who is learned from, are those of others: else a rare query tells on them."""
    user, *others = [f"x{n}" for n in range(99) if part_of(f"x{n}") == "train"][:3]
    lines = [*shop(), *request(user, START, "r0", ["cologne"], None)]
    lines += [line(other, START, "search", query="cologne") for other in others]
    rows, known = [], []
    for number in (0, 1):
        own = [line(user, START + 100, "search", query="cologne")] * number
        table, stats = ctr.build_table(exposures.read_log(write(tmp_path / str(number), lines + own)), "train", CUT)
        rows.append(table.matrix[(table.slots["request_id"] == "r0").arg_max()])
        known.append("cologne" in stats.queries)
    assert known == [False, True]  # the third shopper makes the query known to all but themselves
    assert np.array_equal(*rows, equal_nan=True)


def test_a_click_after_the_cut_off_is_not_known_before_it(tmp_path: Path) -> None:
    """Training ends at the cut-off, for labels too."""
    lines = [*shop(), *request("zz", CUT - 5, "late", ["tent"], 0)]
    table, _ = ctr.build_table(exposures.read_log(write(tmp_path / "data", lines)), "train", CUT)
    row = (table.slots["request_id"] == "late").arg_max()
    assert table.early[row]
    assert not table.clicks[row]


def test_it_learns_what_shoppers_like_whatever_the_position(shop_log: tuple[Dataset, exposures.Log]) -> None:
    """Liked hints are all alike in attraction though lower ones are clicked less."""
    _, log = shop_log
    table, _ = ctr.build_table(log, "train", CUT)
    learned, tuned = table.part("train", early=True), table.part("validation", early=True)
    fitted = ctr.fit(table, learned, tuned, "product", 1, 1)
    assert fitted.examination == pytest.approx([1, 0.6, 0.3], abs=0.15)
    test = table.part("test", early=True)
    liked = table.matrix[test, FEATURES.index("category_days")] > 0.5
    attraction = fitted.attraction(table.matrix[test])
    assert attraction[liked].mean() > 5 * attraction[~liked].mean()
    again = ctr.fit(table, learned, tuned, "product", 1, 1)
    assert np.array_equal(fitted.attraction(table.matrix), again.attraction(table.matrix))


@pytest.mark.parametrize("always", [True, False])
def test_labels_that_are_all_equal_are_refused(shop_log: tuple[Dataset, exposures.Log], *, always: bool) -> None:
    """Nothing can be told apart; the message says what is needed."""
    _, log = shop_log
    at = pl.col("ts") if always else pl.lit(None, pl.Float64)
    table, _ = ctr.build_table(log._replace(slots=log.slots.with_columns(clicked_at=at)), "train", CUT)
    rows = table.part("train", early=True)
    with pytest.raises(ArtefactError, match="clicks"):
        ctr.fit(table, rows, rows, "product", 1, 1)


def test_the_command_writes_a_ranker(shop_log: tuple[Dataset, exposures.Log], tmp_path: Path) -> None:
    """And its last line is its figures; twice the same command gives the same model."""
    dataset, _ = shop_log
    app = typer.Typer()
    app.callback()(lambda: None)
    ctr_commands.add(app)
    for name in ("one", "two"):
        command = ["ctr", "--data", str(dataset.root), "--out", str(tmp_path / name), "--json", "--compare"]
        done = CliRunner().invoke(app, command, catch_exceptions=False)
        assert done.exit_code == 0
    figures = orjson.loads(done.stdout.splitlines()[-1])
    assert figures["groups"]["test_before"]["auc"] > 0.8
    assert set(figures["position"]) == {"product", "offset", "position", "none"}
    scorer = CtrScorer.open(tmp_path / "one")
    assert scorer.meta.part == "train"
    assert scorer.meta.data["manifest_blake2b"]
    for name in ("model.txt", "queries.json", "meta.json", "calibration.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_it_weighs_the_sources_of_an_artefact(shop_log: tuple[Dataset, exposures.Log], tmp_path: Path) -> None:
    """What builds artefacts takes a ranker as it was written; never the one that judges."""
    dataset, log = shop_log
    table, stats = ctr.build_table(log, "train", CUT)
    fitted = ctr.fit(table, table.part("train", early=True), table.part("validation", early=True), "product", 1, 1)
    for part in ("train", "judge"):
        meta = CtrMeta(part, CUT, {}, fitted.examination, fitted.bias, {})
        save(tmp_path / part, meta, stats, fitted.trees.model_to_string())
    command = ["build", "--data", str(dataset.root), "--out", str(tmp_path / "root"), "--ctr"]
    with pytest.raises(ArtefactError, match="must not weigh"):
        CliRunner().invoke(commands.app, [*command, str(tmp_path / "judge")], catch_exceptions=False)
    done = CliRunner().invoke(commands.app, [*command, str(tmp_path / "train")], catch_exceptions=False)
    assert "sources weigh: co_click 1, text 0.25, popular 0.05" in done.stdout, "here the only source is popular"
    assert (tmp_path / "root" / current_version(tmp_path / "root") / CALIBRATION).exists()


def test_a_part_without_anybody_is_refused(shop_log: tuple[Dataset, exposures.Log]) -> None:
    """A small log may have no shopper who judges."""
    _, log = shop_log
    for less in (log._replace(acts=log.acts.clear()), log._replace(slots=log.slots.filter(pl.col("part") != "judge"))):
        with pytest.raises(ArtefactError, match="part judge"):
            ctr.build_table(less, "judge", CUT)


def test_an_empty_dataset_is_refused(shop_log: tuple[Dataset, exposures.Log], tmp_path: Path) -> None:
    """It has no beginning and no end."""
    dataset, _ = shop_log
    assert exposures.learned_until(dataset) == pytest.approx(CUT)
    empty = write(tmp_path / "data", [])
    empty.manifest |= {"from": None, "to": None}
    with pytest.raises(ArtefactError, match=r"manifest\.json"):
        exposures.learned_until(empty)
