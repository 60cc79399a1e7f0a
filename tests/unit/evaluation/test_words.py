"""Which items a query's words match."""

import math

from service.ranking.inverted_index import content_words
from workers.evaluation.cases import Item
from workers.evaluation.words import WordIndex

ITEMS = {
    "1": Item("Campra 4 Person Tent", "Outdoors > Tents", "Campra"),
    "2": Item("Light Tent for Two Persons", "Outdoors > Tents", "Nomad"),
    "3": Item("Toy Tent", "Toys > Play Tents", ""),
    "4": Item("四人帐篷 防水", "Outdoors > Tents", ""),
}


def test_all_content_words_must_be_in_one_item() -> None:
    """Stop words do not count, plurals are the same, and the words may be in title, category or brand."""
    index = WordIndex(ITEMS)
    assert index.in_catalogue("tents for persons")
    assert index.in_catalogue("campra outdoor tent")
    assert not index.in_catalogue("campra toy"), "each word is known, but no item has both"
    assert not index.in_catalogue("for the"), "nothing was said"
    assert content_words("Tents for the Person") == content_words("person tent")


def test_chinese_matches_by_pairs_of_characters() -> None:
    """There are no spaces to split at."""
    index = WordIndex(ITEMS)
    assert index.in_catalogue("帐篷 防水")
    assert index.in_catalogue("防水帐篷"), "two words, which stand apart in the title"
    assert not index.in_catalogue("防水篷"), "each pair is of the query alone"
    assert not index.in_catalogue("防雨帐篷")
    assert not index.in_catalogue("四人帐篷伞")


def test_enough_items_must_match() -> None:
    """The number is the caller's."""
    assert WordIndex(ITEMS, min_items=3).in_catalogue("tent")
    assert not WordIndex(ITEMS, min_items=5).in_catalogue("tent")


def test_the_category_of_a_query_is_that_of_most_matches() -> None:
    """So coverage counts where a shopper would get to."""
    index = WordIndex(ITEMS)
    assert index.category("tent") == "Outdoors > Tents"
    assert index.category("toy tent") == "Toys > Play Tents"
    assert index.category("spaceship") is None
    assert index.coverage([["tent", "spaceship"], ["toy"]]) == 1
    assert index.coverage([["tent"]]) == 0.5
    assert index.share([["tent", "spaceship"], []]) == 0.5
    assert math.isnan(index.share([[]]))
