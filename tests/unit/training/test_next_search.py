"""The ranker of next searches: where candidates come from, and that it learns what follows what."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from service.contracts.errors import ArtefactError
from service.ranking.next_search import COUNTS, MODEL, QUERIES, Candidates, NextSearch
from service.ranking.shopper_context import ShopperContext
from workers.training.counts import Production
from workers.training.next_search import catalogue, context_of, learn
from workers.training.query_counts import ItemWords, count
from workers.training.sessions import Act, History

ITEMS = pl.DataFrame(
    [("tent-1", "Dome Tent", "Outdoors > Tents", "acme", 90.0), ("lamp-1", "Desk Lamp", "Home > Lamps", "lumo", 20.0)],
    schema=["item_id", "title", "category", "brand", "price"],
    orient="row",
)
CATALOGUE = catalogue(ITEMS)
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
    production = Production(histories, {key: item.category for key, item in CATALOGUE.items()}, 2)
    return Candidates(production.counts, count(acts, ItemWords(ITEMS), profiles))


def context(before: list[Act], now: float) -> ShopperContext:
    """Return what a ranker is told of a camper."""
    return context_of(before, {"segment": "campers"}, now, CATALOGUE)


@pytest.fixture(scope="module")
def learned() -> NextSearch:
    """Return a ranker of 240 shoppers, learned from half and counted from the other half."""
    known = people(240)
    return learn([(candidates(known[:120]), known[120:])], candidates(known), CATALOGUE, (0.0, 12 * DAY), 1)


def test_it_learns_what_follows(learned: NextSearch) -> None:
    """After a tent the stove, after a lamp the bulb."""
    for first, item, second in (("dome tent", "tent-1", "gas stove"), ("desk lamp", "lamp-1", "light bulb")):
        before = [Act(0.0, "search", first, None), Act(60.0, "click", None, item)]
        ranked = list(learned.chances(context(before, 3600.0)))
        assert ranked.index(second) < min(
            ranked.index(other) for other in ("gas stove", "light bulb") if other != second
        )


def test_a_stranger_gets_what_is_popular(learned: NextSearch) -> None:
    """Nothing is known of the shopper but the segment."""
    assert set(learned.chances(context([], 0.0))) == {
        "snacks", "dome tent", "desk lamp", "gas stove", "light bulb",
    }  # fmt: skip


def test_what_shares_words_is_a_candidate_though_nobody_went_there() -> None:
    """Text reaches what counts do not; own queries and the numbers of each candidate come along."""
    known = [
        *people(8),
        *(History(f"x{n}", {"segment": "other"}, [Act(0.0, "search", "big tent", None)]) for n in range(2)),
    ]
    queries, table = candidates(known).find(context([Act(0.0, "search", "dome tent", None)], 60.0))
    assert {"big tent", "dome tent", "gas stove"} <= set(queries)
    assert len(set(queries)) == len(queries) == len(table)
    assert np.isfinite(table[:, -7:]).all()


def test_too_little_to_learn_from_keeps_the_order_of_candidates() -> None:
    """No search came after any drawn moment: candidates stay in the order of counts."""
    known = candidates(people(8))
    ranker = learn([(known, [History("u", {}, [])])], known, CATALOGUE, (0.0, DAY), 1)
    assert ranker.trees is None
    assert (
        next(iter(ranker.chances(context_of([Act(0.0, "search", "dome tent", None)], {}, 60.0, CATALOGUE))))
        == "gas stove"
    )


def test_a_generated_query_is_ranked_too(learned: NextSearch) -> None:
    """What a model wrote is a candidate, also if nobody ever searched it; what others searched keeps its chance."""
    asked = context([Act(0.0, "search", "dome tent", None)], 3600.0)
    before, found = learned.chances(asked), learned.chances(asked, ["tent pegs", "gas stove"])
    assert found.keys() == before.keys() | {"tent pegs"}
    assert all(found[query] == pytest.approx(chance) for query, chance in before.items())
    more = learned.chances_with(asked, ["tent pegs", "gas stove"], before)
    assert list(more) == list(found), "only what is new is looked at, and the order is the same"
    assert more == pytest.approx(found)


def test_what_was_saved_is_opened(learned: NextSearch, tmp_path: Path) -> None:
    """Same candidates, same chances; what is cut short is refused, and says what to do."""
    learned.save(tmp_path / "ranker", {"data": "test"})
    asked = context([Act(0.0, "search", "dome tent", None), Act(9.0, "click", None, "tent-1")], 3600.0)
    assert NextSearch.open(tmp_path / "ranker").chances(asked) == pytest.approx(learned.chances(asked), rel=1e-3)
    for name in (COUNTS, MODEL, QUERIES):
        content = (tmp_path / "ranker" / name).read_bytes()
        (tmp_path / "ranker" / name).write_bytes(content[:-1])
        with pytest.raises(ArtefactError, match="aigq train ranker"):
            NextSearch.open(tmp_path / "ranker")
        (tmp_path / "ranker" / name).write_bytes(content)


def test_a_ranker_without_trees_is_saved_too(tmp_path: Path) -> None:
    """Logs too short to learn from still give counts."""
    known = candidates(people(8))
    NextSearch(known, None).save(tmp_path / "ranker", {})
    asked = context([Act(0.0, "search", "dome tent", None)], 60.0)
    assert list(NextSearch.open(tmp_path / "ranker").chances(asked)) == list(NextSearch(known, None).chances(asked))
