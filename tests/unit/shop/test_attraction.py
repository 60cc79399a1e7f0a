"""Lists judged by the true click model."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import orjson
import polars as pl
import pytest
from typer.testing import CliRunner

from service.contracts.errors import ArtefactError
from workers.common.dataset import Dataset
from workers.common.split import cut_off
from workers.shop.commands import app
from workers.shop.report.attraction import judge_lists, read_lists
from workers.shop.report.cases import Life, lives
from workers.shop.world import World


@pytest.fixture(scope="module")
def searchers(dataset: Dataset) -> list[Life]:
    """Return shoppers who search after the cut-off, bots left out."""
    truth = pl.read_parquet(dataset.root / "truth" / "shoppers.parquet")
    bots = frozenset(truth.filter(pl.col("nature") == "bot")["user_id"])
    found = lives(dataset.scan_events().collect(), dataset.profiles(), cut_off(dataset.manifest), bots)
    return [life for life in found if life.after]


def _lists(people: Sequence[Life], **methods: Mapping[str, Sequence[str]]) -> pl.DataFrame:
    rows = [(life.user_id, name, list(of[life.user_id])) for name, of in methods.items() for life in people]
    schema = {"user_id": pl.String, "method": pl.String, "novel_queries": pl.List(pl.String)}
    return pl.DataFrame(rows, schema=schema, orient="row")


def test_what_shoppers_search_next_attracts_them(dataset: Dataset, world: World, searchers: list[Life]) -> None:
    """More than what others search next; nobody clicks what means nothing, nor a hint that is not there."""
    others = [*searchers[1:], searchers[0]]
    lists = _lists(
        searchers,
        own={life.user_id: life.after for life in searchers},
        padded={life.user_id: [*life.after, *["zzz"] * 6] for life in searchers},
        others={life.user_id: other.after for life, other in zip(searchers, others, strict=True)},
        nonsense={life.user_id: ["zzz"] for life in searchers},
        nothing={life.user_id: [] for life in searchers},
    )
    heard: list[None] = []
    found = judge_lists(dataset, lists, world.shop, lambda: heard.append(None))
    assert found.cases == len(heard) == len(searchers)
    assert found.left_out == 0
    by = found.methods
    assert by["own"].attraction == pytest.approx(by["padded"].attraction)
    assert by["own"].low <= by["own"].attraction <= by["own"].high
    assert by["own"].attraction > 2 * by["others"].attraction > 0
    assert by["nonsense"].attraction == by["nothing"].attraction == 0
    assert (by["nonsense"].unknown, by["nothing"].unknown) == (1, 0)
    assert by["own"].unknown < 0.1


def test_the_command_ends_with_one_json_line(dataset: Dataset, searchers: list[Life], tmp_path: Path) -> None:
    """With the figures of each method."""
    file = tmp_path / "cases.parquet"
    _lists(searchers[:5], own={life.user_id: life.after for life in searchers}).write_parquet(file)
    done = CliRunner().invoke(app, ["attraction", str(dataset.root), "--lists", str(file), "--json"])
    assert done.exit_code == 0, done.output
    found = orjson.loads(done.stdout.strip())
    assert found["cases"] == 5
    assert 0 < found["methods"]["own"]["attraction@6"] < 1


def test_lists_of_others_are_refused(dataset: Dataset, world: World, searchers: list[Life], tmp_path: Path) -> None:
    """And so is what is no list, with the command that writes them."""
    stranger = Life("s9999999", "students", "en-US", after=["tent"])
    some = [searchers[0], stranger]
    lists = _lists(some, m={life.user_id: ["tent"] for life in some})
    with pytest.raises(ArtefactError, match="s9999999"):
        judge_lists(dataset, lists, world.shop)
    with pytest.raises(ArtefactError, match="aigq evaluate --out"):
        read_lists(tmp_path / "nowhere.parquet")
