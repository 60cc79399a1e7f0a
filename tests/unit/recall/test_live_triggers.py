"""From recent behaviour to x2q keys."""

from service.contracts.codecs import BehaviourEntry
from service.contracts.keys import category_trigger, item_trigger, query_trigger
from service.ranking.candidates import MAX_TRIGGERS, live_triggers, referrer_trigger
from service.ranking.catalogue import Catalogue
from tests.support import TENT, TENT_CATEGORY


def test_an_item_falls_back_to_its_category(catalogue: Catalogue) -> None:
    """A new item has no list yet, its category has; an item that left the catalogue is tried by itself."""
    entries = [BehaviourEntry("click", 2.0, TENT), BehaviourEntry("cart", 1.0, "gone")]
    first, second = live_triggers(entries, catalogue)
    assert first.keys == (item_trigger(TENT), category_trigger(TENT_CATEGORY))
    assert second.keys == (item_trigger("gone"),)


def test_searches_and_hint_clicks_are_queries(catalogue: Catalogue) -> None:
    """Equal queries are one trigger, with the latest time."""
    entries = [
        BehaviourEntry("search", 1.0, "Tent"),
        BehaviourEntry("hint_click", 3.0, "tent"),
        BehaviourEntry("search", 2.0, "lamp"),
    ]
    triggers = live_triggers(entries, catalogue)
    assert [(t.keys, t.ts) for t in triggers] == [((query_trigger("tent"),), 3.0), ((query_trigger("lamp"),), 2.0)]


def test_newest_first_and_few(catalogue: Catalogue) -> None:
    """At most `MAX_TRIGGERS`, whatever the order in which events arrived."""
    entries = [BehaviourEntry("search", float(n % 7), f"query {n % 7}") for n in range(20)]
    triggers = live_triggers(entries, catalogue)
    assert [t.ts for t in triggers] == [6.0, 5.0, 4.0, 3.0][:MAX_TRIGGERS]


def test_nothing_done_nothing_triggered(catalogue: Catalogue) -> None:
    """A new shopper."""
    assert live_triggers([], catalogue) == []


def test_a_search_elsewhere_falls_back_to_what_it_finds(catalogue: Catalogue) -> None:
    """The query as searched here, then the category of the items that it finds; nonsense finds none."""
    assert referrer_trigger("Two  Person TENTS", catalogue, 5.0).keys == (
        query_trigger("two person tents"),
        category_trigger(TENT_CATEGORY),
    )
    assert referrer_trigger("wigwam", catalogue, 5.0).keys == (query_trigger("wigwam"),)
