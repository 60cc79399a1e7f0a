"""Co-click counts: what follows what, once a shopper, and nothing private."""

import polars as pl

from workers.common.co_click import KEPT, co_click
from workers.common.item_text import MIN_SHOPPERS

_SCHEMA = {"user_id": pl.String, "ts": pl.Float64, "query": pl.String, "item_id": pl.String}
_ITEMS = pl.DataFrame({"item_id": ["a", "b"], "category": ["Outdoors > Tents", None]})
Act = tuple[float, str | None, str | None]


def _events(*histories: list[Act]) -> pl.DataFrame:
    rows = [(f"u{n}", *act) for n, history in enumerate(histories) for act in history]
    return pl.DataFrame(rows, _SCHEMA, orient="row")


def _lists(events: pl.DataFrame) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for trigger, query, score in co_click(events, _ITEMS).iter_rows():
        assert 0 < score < 1
        found.setdefault(trigger, []).append(query)
    return found


def test_what_follows_a_query_an_item_and_a_category() -> None:
    """The nearer search leads; what came before says nothing, and no query leads to itself."""
    history: list[Act] = [
        (1.0, "tent", None), (2.0, None, "a"), (3.0, "stove", None), (4.0, "lamp", None), (5.0, "tent", None),
    ]  # fmt: skip
    found = _lists(_events(*[history] * 3))
    assert found["query:tent"] == ["stove", "lamp"]
    assert found["item:a"] == found["category:Outdoors > Tents"] == ["stove", "lamp", "tent"]
    assert found["query:lamp"] == ["tent"]


def test_an_item_without_a_category_speaks_for_itself() -> None:
    """And one that left the catalogue too."""
    found = _lists(_events(*[[(1.0, None, "b"), (2.0, None, "gone"), (3.0, "stove", None)]] * 3))
    assert found == {"item:b": ["stove"], "item:gone": ["stove"]}


def test_a_shopper_counts_once() -> None:
    """A hundred times the same pair, by one shopper, is one; a pair of one shopper is none."""
    pairs: list[Act] = [(float(n), query, None) for n in range(100) for query in ("tent", "stove")]
    known: list[Act] = [(1e7, "stove", None), (2e7, "tent", None)]
    assert _lists(_events(pairs, known, known)) == {}


def test_what_few_searched_is_led_to_by_nothing() -> None:
    """k-anonymity, and the filter for what may be shown at all."""
    secret: list[Act] = [(1.0, "tent", None), (2.0, "engagement ring for anna", None), (3.0, "mail a@b.com", None)]
    assert _lists(_events(*[secret] * (MIN_SHOPPERS - 1))) == {}
    assert _lists(_events(*[secret] * MIN_SHOPPERS))["query:tent"] == ["engagement ring for anna"]


def test_next_week_is_another_errand() -> None:
    """A search days later was not led to."""
    assert _lists(_events(*[[(1.0, "tent", None), (1.0 + 7 * 86400, "stove", None)]] * 3)) == {}


def test_lists_are_short() -> None:
    """A request reads a handful of them."""
    histories: list[list[Act]] = [
        [(1.0, "tent", None), (2.0, f"query {'x' * (1 + n % 40)}", None)] for n in range(40 * MIN_SHOPPERS)
    ]
    assert len(_lists(_events(*histories))["query:tent"]) == KEPT
