"""What the catalogue promises."""

from pathlib import Path

import pytest

from service.contracts.errors import ConfigError
from service.contracts.text import has_cjk
from workers.shop.catalogue import CHINESE, ENGLISH, Shop
from workers.shop.schema import read_departments
from workers.shop.world import World

_DEPARTMENT = """
id: {id}
name: Test
name_zh: 测试
brands: [{{name: Northfell, tier: premium}}]
categories:
  - id: {category}
    name: Tents
    group: Shelter
    popularity: 6
    brands: [{brand}]
    types: [{{name: dome tent, weight: 4, words: [dome tent]}}]
    head: [tent]
    attributes: {{capacity: [2 person, 4 person]}}
    specs: [with footprint]
    use_cases: [backpacking]
    gift_for: []
    price: [45, 420]
    season: summer
    consumable: false
    repurchase_days: null
    complements: [{complement}]
    substitutes: []
"""


def _write(folder: Path, name: str, **changes: str) -> None:
    fields = {"id": name, "category": "tents", "brand": "Northfell", "complement": "", **changes}
    (folder / f"{name}.yaml").write_text(_DEPARTMENT.format(**fields), encoding="utf-8")


def test_the_shop_is_large_enough(world: World) -> None:
    """At least 12 departments, 150 leaf categories and 8,000 items with ids of their own."""
    market = world.shop.markets[ENGLISH]
    items = world.shop.items()
    assert len({category.department for category in market}) >= 12
    assert len(market) >= 150
    assert len({item.id for item in items}) == len(items) >= 8000


def test_listings_are_complete(world: World) -> None:
    """Every item has a title with its brand, a price in its category's range, and Chinese items Chinese titles."""
    for item in world.shop.items():
        assert item.category.brands[item.brand].name in item.title
        assert 0.9 * item.category.price[0] - 1 <= item.price <= item.category.price[1] + 1
        assert has_cjk(item.title) == (item.category.locale == CHINESE)


def test_the_catalogue_is_always_the_same(world: World) -> None:
    """Two readings give the same items and the same hash."""
    again = Shop()
    assert again.hash == world.shop.hash
    assert [i.title for i in again.items()[:200]] == [i.title for i in world.shop.items()[:200]]


def test_a_good_file_reads(tmp_path: Path) -> None:
    """The schema takes a minimal department."""
    _write(tmp_path, "a")
    assert read_departments(tmp_path)[0].categories[0].id == "tents"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"brand": "Nobody"}, "Nobody"),
        ({"complement": "spaceships"}, "spaceships"),
        ({"category": '"a": b'}, "not YAML"),
    ],
)
def test_a_mistake_names_the_file(tmp_path: Path, changes: dict[str, str], said: str) -> None:
    """Unknown brands, unknown categories and broken YAML are told with the file's name."""
    _write(tmp_path, "a", **changes)
    with pytest.raises(ConfigError, match=said) as caught:
        read_departments(tmp_path)
    assert "a.yaml" in str(caught.value)


def test_a_category_is_defined_once(tmp_path: Path) -> None:
    """Two files cannot define the same category."""
    _write(tmp_path, "a")
    _write(tmp_path, "b")
    with pytest.raises(ConfigError, match=r"b\.yaml.*already in.*a\.yaml"):
        read_departments(tmp_path)


def test_the_hash_tells_what_is_a_near_duplicate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other near keys may give other logs; another comment in their file may not."""
    before = Shop().hash
    monkeypatch.setattr("workers.shop.catalogue.near_key", str.upper)
    assert Shop().hash != before
