"""Which categories are consumable, by who buys again."""

import polars as pl

from workers.common.consumable import consumable

_DAY = 86400.0
_ITEMS = pl.DataFrame(
    {"item_id": ["tea", "tent", "oil", "gift"], "category": ["Tea", "Tents", "Oil", None]},
    schema={"item_id": pl.String, "category": pl.String},
)


def _events(rows: list[tuple[str, float, str, str]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["user_id", "ts", "type", "item_id"], orient="row")


def test_enough_shoppers_must_buy_again() -> None:
    """Three of ten come back for tea; two for oil, which is nobody's business; nobody for another tent."""
    rows = [(f"u{n}", 0.0, "purchase", item) for n in range(10) for item in ("tea", "tent", "oil", "gift")]
    rows += [(f"u{n}", 9 * _DAY, "purchase", item) for n in range(3) for item in ("tea", "gift")]
    rows += [(f"u{n}", 9 * _DAY, "purchase", "oil") for n in range(2)]
    rows += [(f"u{n}", 9 * _DAY, "click", "tent") for n in range(10)]
    assert consumable(_events(rows), _ITEMS) == ["Tea"]


def test_the_same_day_is_the_same_purchase() -> None:
    """Two tents in one order, or an hour later, are not a habit."""
    rows = [(f"u{n}", hour * 3600.0, "purchase", "tent") for n in range(10) for hour in (0, 1)]
    assert consumable(_events(rows), _ITEMS) == []


def test_a_rare_repurchase_is_chance() -> None:
    """Three of a thousand buy another tent."""
    rows = [(f"u{n}", 0.0, "purchase", "tent") for n in range(1000)]
    rows += [(f"u{n}", 9 * _DAY, "purchase", "tent") for n in range(3)]
    assert consumable(_events(rows), _ITEMS) == []
    assert consumable(_events(rows[:100] + rows[-3:]), _ITEMS) == ["Tents"]
