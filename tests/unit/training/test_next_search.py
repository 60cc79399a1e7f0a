"""The ranker of next searches: where candidates come from, and that it learns what follows what."""

import numpy as np
import polars as pl
import pytest

from workers.training.counts import Production
from workers.training.next_search import Candidates, NextSearch, catalogue
from workers.training.query_counts import ItemWords, count
from workers.training.sessions import Act, History

ITEMS = pl.DataFrame(
    [("tent-1", "Dome Tent", "Outdoors > Tents", "acme", 90.0), ("lamp-1", "Desk Lamp", "Home > Lamps", "lumo", 20.0)],
    schema=["item_id", "title", "category", "brand", "price"],
    orient="row",
)
DAY = 86400.0


def people(number: int) -> list[History]:
    """Return shoppers, half of whom go from a tent to a stove, half from a lamp to a bulb; all come back for snacks."""
    found = []
    for user in range(number):
        first, second = ("dome tent", "gas stove") if user % 2 else ("desk lamp", "light bulb")
        acts = [
            Act(DAY * (user % 5), "search", first, None),
            Act(DAY * (user % 5) + 60, "click", None, "tent-1" if user % 2 else "lamp-1"),
            Act(DAY * (user % 5) + DAY, "search", second, None),
            Act(DAY * (user % 5) + 9 * DAY, "search", "snacks", None),
        ]
        found.append(History(f"u{user:03d}", {"segment": "campers"}, acts))
    return found


def candidates(histories: list[History]) -> Candidates:
    """Return what `histories` say."""
    rows = [(h.user_id, act.ts, act.type, act.query, act.item_id) for h in histories for act in h.acts]
    acts = pl.DataFrame(rows, schema=["user_id", "ts", "type", "query", "item_id"], orient="row")
    profiles = pl.DataFrame({"user_id": [h.user_id for h in histories], "segment": "campers"})
    described = catalogue(ITEMS)
    production = Production(histories, {key: item.category for key, item in described.items()}, 2)
    return Candidates(production, count(acts, ItemWords(ITEMS), profiles), described)


@pytest.fixture(scope="module")
def learned() -> NextSearch:
    """Return a ranker of 240 shoppers, learned from half and counted from the other half."""
    known = people(240)
    return NextSearch.learn([(candidates(known[:120]), known[120:])], candidates(known), (0.0, 12 * DAY), 1)


def test_it_learns_what_follows(learned: NextSearch) -> None:
    """After a tent the stove, after a lamp the bulb."""
    for first, item, second in (("dome tent", "tent-1", "gas stove"), ("desk lamp", "lamp-1", "light bulb")):
        before = [Act(0.0, "search", first, None), Act(60.0, "click", None, item)]
        ranked = list(learned.chances(before, {"segment": "campers"}, 3600.0))
        assert ranked.index(second) < min(
            ranked.index(other) for other in ("gas stove", "light bulb") if other != second
        )


def test_a_stranger_gets_what_is_popular(learned: NextSearch) -> None:
    """Nothing is known of the shopper but the segment."""
    assert set(learned.chances([], {"segment": "campers"}, 0.0)) == {
        "snacks", "dome tent", "desk lamp", "gas stove", "light bulb",
    }  # fmt: skip


def test_what_shares_words_is_a_candidate_though_nobody_went_there() -> None:
    """Text reaches what counts do not; own queries and the numbers of each candidate come along."""
    known = [
        *people(8),
        *(History(f"x{n}", {"segment": "other"}, [Act(0.0, "search", "big tent", None)]) for n in range(2)),
    ]
    queries, table = candidates(known).find([Act(0.0, "search", "dome tent", None)], {"segment": "campers"}, 60.0)
    assert {"big tent", "dome tent", "gas stove"} <= set(queries)
    assert len(set(queries)) == len(queries) == len(table)
    assert np.isfinite(table[:, -7:]).all()


def test_too_little_to_learn_from_keeps_the_order_of_candidates() -> None:
    """No search came after any drawn moment: candidates stay in the order of counts."""
    known = candidates(people(8))
    ranker = NextSearch.learn([(known, [History("u", {}, [])])], known, (0.0, DAY), 1)
    assert ranker.trees is None
    assert next(iter(ranker.chances([Act(0.0, "search", "dome tent", None)], {}, 60.0))) == "gas stove"
