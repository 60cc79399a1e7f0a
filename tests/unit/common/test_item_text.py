"""Item-to-text: what stands for an item in a prompt."""

import polars as pl

from workers.common.item_text import surrogates

ITEMS = pl.DataFrame(
    {
        "item_id": ["rope", "new", "odd"],
        "title": ["Liftwell AU380 Speed Rope, Kids, 3 Pack", "Campra Ridge 2 Tent", "Thing"],
        "category": ["Fitness > Ropes", "Outdoors > Tents", None],
        "brand": ["Liftwell", "Campra", None],
    }
)


def _events(queries: list[str]) -> pl.DataFrame:
    """Return a search and a click on the rope for each query, a shopper each, and others who only search "rope"."""
    rows = [(f"u{n}", 0.0, "search", query, None) for n, query in enumerate(queries)]
    rows += [(f"u{n}", 1.0, "click", None, "rope") for n in range(len(queries))]
    rows += [(f"v{n}", 0.0, "search", "rope", None) for n in range(40)]
    frame = pl.DataFrame(rows, schema=["user_id", "ts", "type", "query", "item_id"], orient="row")
    return frame.sort("user_id", "ts")


def test_the_most_telling_query_stands_for_the_item() -> None:
    """As many came by "rope", but "rope" says little: it leads to many things."""
    assert surrogates(_events(["rope"] * 3 + ["speed rope"] * 3), ITEMS)["rope"] == "speed rope"


def test_private_and_long_queries_stand_for_nothing() -> None:
    """Two shoppers are too few, and nine words are no shorter than a title; brand and category stand in."""
    long = "a b c d e f g h i"
    assert surrogates(_events(["my own words"] * 2 + [long] * 5), ITEMS)["rope"] == "Liftwell Ropes"


def test_every_item_has_words() -> None:
    """Unopened ones have brand and category, those without a category their title."""
    found = surrogates(_events(["rope"] * 3), ITEMS)
    assert (found["new"], found["odd"]) == ("Campra Tents", "Thing")
