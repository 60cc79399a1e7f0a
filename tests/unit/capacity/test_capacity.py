"""What a shop needs, from measured figures: by hand for a small one, and how needs grow."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from service.contracts.errors import ConfigError
from workers.capacity import commands
from workers.capacity.model import Measured, Plant, Shop, needs

ROOT = Path(__file__).parents[3]
FIGURES = """
[machine]
date = 2026-01-01
text = "a table"
[redis]
first_action_bytes = 400
action_bytes = 100
list_bytes = 500
trigger_bytes = 1000
shoppers = 10
[service]
hints_per_core_s = 100
events_per_core_s = 50
[accelerator]
refreshes_s = 10
tokens_per_refresh = 30
"""
SHOP = Shop(
    shoppers=1_000_000,
    daily_active=0.0864,
    visits=10,
    actions=20,
    refreshes=5,
    kept_actions=11,
    triggers=100_000,
    peak=2,
)
PLANT = Plant(shard_gb=1, copies=2, load=0.5, accelerator_refreshes_s=None, gb_month=1, core_hour=1, accelerator_hour=1)


@pytest.fixture
def measured(tmp_path: Path) -> Measured:
    """Return round figures."""
    (tmp_path / "measured.toml").write_text(FIGURES)
    return Measured.read(tmp_path / "measured.toml")


def _amounts(shop: Shop, plant: Plant, measured: Measured) -> dict[str, float]:
    return {one.what: one.amount for one in needs(shop, plant, measured)}


def test_a_small_shop_by_hand(measured: Measured) -> None:
    """86,400 active shoppers: ten visits, twenty events and five refreshes a second, twice that at the peak."""
    found = _amounts(SHOP, PLANT, measured)
    assert found["Redis memory a shopper"] == 400 + 10 * 100 + 500
    assert found["Redis memory"] == pytest.approx(1.9 + 0.1)
    assert found["Redis shards"] == 4
    assert found["hints at the peak"] == pytest.approx(20)
    assert found["service cores"] == 2  # 20 / 100 + 40 / 50 = 1, half full
    assert found["accelerators"] == 2
    assert found["cost: memory"] == pytest.approx(2 / 0.5 * 2)
    assert found["cost"] == pytest.approx(8 + 2 * 730 + 2 * 730)
    assert found["cost a thousand requests"] == pytest.approx(found["cost"] / (10 * 3600 * 730 / 1000))


@given(st.floats(1, 1e9), st.floats(1, 100))
def test_more_shoppers_never_need_less(shoppers: float, factor: float) -> None:
    """Of anything but what is of one shopper, or of a thousand requests."""
    figures = Measured.read(commands._FIGURES)
    small = _amounts(replace(SHOP, shoppers=shoppers), PLANT, figures)
    large = _amounts(replace(SHOP, shoppers=shoppers * factor), PLANT, figures)
    for name in small.keys() - {"cost a thousand requests"}:
        assert large[name] >= small[name] * (1 - 1e-9)


def test_what_was_not_measured_says_so(measured: Measured) -> None:
    """Accelerators: measured on a CPU, unless yours are given."""
    bases = {one.what: one.basis for one in needs(SHOP, PLANT, measured)}
    assert bases["accelerators"].startswith("extrapolated")
    given_ = {one.what: one.basis for one in needs(SHOP, replace(PLANT, accelerator_refreshes_s=400.0), measured)}
    assert given_["accelerators"].startswith("given")


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [("action_bytes = 100", "action_bytes = 0", "redis.action_bytes"), ("refreshes_s = 10\n", "", "refreshes_s")],
)
def test_wrong_figures_are_named(before: str, after: str, message: str, tmp_path: Path) -> None:
    """By section and key."""
    path = tmp_path / "measured.toml"
    path.write_text(FIGURES.replace(before, after))
    with pytest.raises(ConfigError, match=message):
        Measured.read(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        Measured.read(tmp_path / "absent.toml")


def test_the_command_prints_json_and_draws(tmp_path: Path) -> None:
    """With the figures that are shipped."""
    plot = tmp_path / "needs.svg"
    done = CliRunner().invoke(commands.app, ["--shoppers", "1e6", "--plot", str(plot), "--json"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["needs"]["Redis memory"]["unit"] == "GB"
    assert report["measured"]["machine"]["date"]
    assert plot.read_text().startswith("<?xml")


def test_an_accelerator_without_a_price_is_refused() -> None:
    """The default price is that of what was measured."""
    done = CliRunner().invoke(commands.app, ["--accelerator-refreshes", "400"])
    assert isinstance(done.exception, ConfigError)


@pytest.mark.parametrize(
    ("part", "name", "run", "figure", "of"),
    [
        ("service", "hints_per_core_s", "serving-20k", "hints_cpu_us", lambda us: 1e6 / us),
        ("accelerator", "refreshes_s", "nearline", "nearline_shoppers_s", float),
        ("accelerator", "tokens_per_refresh", "nearline", "tokens_a_shopper", float),
    ],
)
def test_shipped_figures_are_those_last_measured(
    part: str, name: str, run: str, figure: str, of: Callable[[float], float]
) -> None:
    """Give or take a tenth: whoever measures again and finds more than that changes workers/capacity/measured.toml."""
    newest = max((ROOT / "docs" / "bench").glob(f"*-{run}.json"))
    told = getattr(getattr(Measured.read(commands._FIGURES), part), name)
    assert told == pytest.approx(of(json.loads(newest.read_bytes())["figures"][figure]["median"]), rel=0.1), newest
