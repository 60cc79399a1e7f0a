"""What generated logs promise."""

from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from service.contracts.errors import ArtefactError
from workers.common.dataset import EVENT_SCHEMA, Dataset
from workers.shop import generate as module
from workers.shop.commands import app
from workers.shop.generate import generate
from workers.shop.world import World


def _files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_same_seed_same_bytes(world: World, tmp_path: Path) -> None:
    """The same seed gives byte-identical files."""
    for name in ("a", "b"):
        generate(tmp_path / name, shoppers=30, days=20, seed=5, shop=world.shop, warm_up=40)
    generate(tmp_path / "c", shoppers=30, days=20, seed=6, shop=world.shop, warm_up=40)
    assert _files(tmp_path / "a") == _files(tmp_path / "b")
    assert _files(tmp_path / "a") != _files(tmp_path / "c")


def test_a_shopper_does_not_depend_on_how_many_there_are(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first shoppers of a longer run, made in other groups, are the same."""
    generate(tmp_path / "few", shoppers=20, days=20, seed=5, shop=world.shop, warm_up=40)
    monkeypatch.setattr(module, "SHOPPERS_PER_GROUP", 7)
    monkeypatch.setattr(module, "GROUPS_PER_PART", 2)
    generate(tmp_path / "more", shoppers=40, days=20, seed=5, shop=world.shop, warm_up=40)
    few = Dataset(tmp_path / "few").scan_events().collect()
    more = Dataset(tmp_path / "more").scan_events().filter(pl.col("user_id") <= "s0000020").collect()
    assert few.equals(more)


def test_logs_keep_the_contract(dataset: Dataset) -> None:
    """Sorted by shopper and time, ids unique, each type with the fields that it needs, items that exist."""
    events = dataset.scan_events().collect()
    assert events.columns == EVENT_SCHEMA.names
    assert events.select("user_id", "ts").equals(events.select("user_id", "ts").sort("user_id", "ts"))
    assert events["event_id"].is_unique().all()
    needs_query = events.filter(pl.col("type").is_in(["search", "hint_exposure", "hint_click"]))
    assert needs_query["query"].null_count() == 0
    on_items = events.filter(pl.col("type").is_in(["click", "cart", "purchase"]))
    assert on_items["item_id"].is_in(dataset.items()["item_id"].implode()).all()
    assert on_items.filter(pl.col("type") == "purchase")["order_id"].null_count() == 0


def test_hints_come_in_threes(dataset: Dataset) -> None:
    """What was served was seen, slot by slot, and a click is on a hint that was shown."""
    events = dataset.scan_events().collect()
    served = events.filter(pl.col("type") == "hint_served")
    seen = events.filter(pl.col("type") == "hint_exposure")
    shown = served.select("request_id", pl.col("queries").alias("query")).explode("query")
    assert shown.equals(seen.select("request_id", "query"))
    clicks = events.filter(pl.col("type") == "hint_click")
    assert clicks.join(seen, on=["request_id", "position", "query"], how="anti").is_empty()
    assert (served["m"] >= 1).all()


def test_truth_stays_out_of_the_logs(dataset: Dataset) -> None:
    """True click probabilities cover every exposure, and lie beside the events, not in them."""
    truth = pl.read_parquet(dataset.root / "truth" / "clicks.parquet")
    seen = dataset.scan_events().filter(pl.col("type") == "hint_exposure").collect()
    assert truth.height == seen.height
    assert truth["p_click"].is_between(0, 1).all()
    assert not {"p_click", "attraction", "examine"} & set(seen.columns)


def test_cold_shoppers_leave_little(dataset: Dataset) -> None:
    """A cold shopper has at most two behaviour events; every shopper has a profile."""
    natures = pl.read_parquet(dataset.root / "truth" / "shoppers.parquet")
    cold = natures.filter(pl.col("nature") == "cold")["user_id"]
    counts = (
        dataset.scan_events()
        .filter(~pl.col("type").is_in(["hint_served", "hint_exposure"]) & pl.col("user_id").is_in(cold.implode()))
        .group_by("user_id")
        .len()
        .collect()
    )
    assert counts.is_empty() or counts["len"].max() in {1, 2}
    assert dataset.profiles().height == dataset.manifest["shoppers"] == natures.height


def test_an_existing_dataset_is_kept(dataset: Dataset, world: World) -> None:
    """Nothing is overwritten unless asked for."""
    with pytest.raises(ArtefactError, match="exists"):
        generate(dataset.root, shoppers=1, days=2, seed=1, shop=world.shop, warm_up=1)


def test_arguments_are_checked(tmp_path: Path) -> None:
    """A wrong argument is told by name, before anything is written."""
    result = CliRunner().invoke(app, ["generate", "--shoppers", "0", "--out", str(tmp_path / "x")])
    assert result.exit_code == 2
    assert "--shoppers" in result.output
    assert not (tmp_path / "x").exists()


def test_hash_names_the_shop(world: World) -> None:
    """`aigq shop hash` prints what the manifest records."""
    assert CliRunner().invoke(app, ["hash"]).output.strip() == world.shop.hash
