"""Items and queries of which the logs know nothing lead to what shoppers call such things."""

import polars as pl

from service.contracts.keys import item_trigger, query_trigger
from workers.common.similar import KEPT, similar

ITEMS = pl.DataFrame(
    {
        "item_id": ["new", "known", "odd", "bare"],
        "title": ["Trail Running Shoes Light", "Road Running Shoes", "Xyzzy", "!!!"],
        "category": ["Sports > Running Shoes", "Sports > Running Shoes", "Plugh", None],
    }
)


def _searches(*pairs: tuple[str, int]) -> pl.DataFrame:
    rows = [(f"u{number}", query) for query, shoppers in pairs for number in range(shoppers)]
    return pl.DataFrame(rows, schema=["user_id", "query"], orient="row")


SEARCHES = _searches(("running shoes", 9), ("trail running shoes", 4), ("rain jacket", 5), ("light shoes for anna", 2))


def test_an_unknown_item_leads_to_queries_that_share_its_words() -> None:
    """Best first; what few shoppers typed is led to by nothing, and words that nobody typed lead nowhere."""
    found = dict(similar(ITEMS, SEARCHES, {item_trigger("known")}))
    assert {trigger for trigger in found if trigger.startswith("item:")} == {item_trigger("new")}
    queries = [query for query, _ in found[item_trigger("new")]]
    assert queries[0] == "trail running shoes"
    assert set(queries) == {"trail running shoes", "running shoes"}
    scores = [score for _, score in found[item_trigger("new")]]
    assert scores == sorted(scores, reverse=True)
    assert min(scores) > 0


def test_a_query_after_which_nobody_searched_leads_to_queries_like_it() -> None:
    """Not to itself in other words; one that the logs know, and one of few shoppers, lead to nothing here."""
    searches = pl.concat([SEARCHES, _searches(("shoes running", 6), ("running socks", 3))])
    found = dict(similar(ITEMS, searches, {query_trigger("running socks")}))
    of_queries = {trigger: [query for query, _ in lists] for trigger, lists in found.items() if "item:" not in trigger}
    assert of_queries.keys() == {query_trigger(q) for q in ("running shoes", "shoes running", "trail running shoes")}
    for same in ("running shoes", "shoes running"):
        assert of_queries[query_trigger(same)] == ["trail running shoes", "running socks"]
    assert set(of_queries[query_trigger("trail running shoes")]) == {"running shoes", "shoes running", "running socks"}


def test_what_the_logs_know_is_left_to_them() -> None:
    """Nothing is said twice; and with nothing to say, nothing is."""
    known = {item_trigger(item_id) for item_id in ITEMS["item_id"]} | set(map(query_trigger, SEARCHES["query"]))
    assert list(similar(ITEMS, SEARCHES, known)) == []
    assert list(similar(ITEMS, _searches(("rare", 1)), set())) == []


def test_a_list_is_short() -> None:
    """However many queries share a word."""
    many = _searches(*((f"shoes number {number}", 3) for number in range(30)))
    found = dict(similar(ITEMS, many, set()))
    assert len(found[item_trigger("new")]) == KEPT
