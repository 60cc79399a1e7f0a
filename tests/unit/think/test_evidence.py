"""What the logs say of a trigger, and what the teacher without a model makes of it."""

from collections.abc import Iterator

import pytest

from service.contracts.keys import category_trigger, item_trigger, query_trigger, segment_trigger
from tests.unit.think.camping import BAGS, LATE, RARE, STOVES, TENTS, camping, logs_of
from workers.common.reasons import fault
from workers.think import knowledge
from workers.think.evidence import Evidence, Link, Logs
from workers.think.teacher import told


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Logs]:
    """The campers' logs."""
    root = tmp_path_factory.mktemp("shop")
    with logs_of(camping(root / "data"), root) as found:
        yield found


def test_an_item_is_known_by_its_shoppers(logs: Logs) -> None:
    """What led to it, what is searched after it, what is bought with it, and where its shoppers go on to."""
    found = logs.evidence(item_trigger("tent"))
    assert (found.kind, found.subject, found.category) == ("item", "Dome Tent", TENTS)
    assert found.before[0][0] == "dome tent"
    assert found.after[0][0] == "sleeping bag"
    assert [link.category for link in found.bought] == [STOVES]
    assert {link.category for link in found.following} == {STOVES, BAGS}
    assert all(link.lift > 1 and link.shoppers == 40 for link in found.bought)


def test_queries_and_segments_have_evidence_too(logs: Logs) -> None:
    """A query is of the category in which it is clicked; a segment is known by what its shoppers search."""
    query = logs.evidence(query_trigger("dome tent"))
    assert (query.category, query.after[0][0]) == (TENTS, "sleeping bag")
    segment = logs.evidence(segment_trigger("campers"))
    assert {query for query, _ in segment.after} == {"dome tent", "sleeping bag", "camping stove"}
    assert logs.evidence(category_trigger(TENTS)).before[0][0] == "dome tent"
    assert not logs.evidence(item_trigger("unknown")).says


def test_nobodys_secrets_and_nothing_from_the_future(logs: Logs) -> None:
    """Neither what one shopper searched, nor held-out shoppers, nor held-out days reach a teacher."""
    everything = [
        *map(item_trigger, ("tent", "stove", "bag", "lamp", "toy")), *map(category_trigger, (TENTS, STOVES, BAGS)),
        query_trigger("dome tent"), segment_trigger("campers"),
    ]  # fmt: skip
    said = repr([told(logs.evidence(trigger)) for trigger in everything])
    assert "sleeping bag" in said
    assert not any(hidden in said for hidden in (RARE, LATE, "secret bivouac"))


def test_the_list_covers_what_the_rationale_names(logs: Logs) -> None:
    """Every category that is named has a query; the rationale is of the form that training learns."""
    evidence = logs.evidence(item_trigger("tent"))
    found = knowledge.answer(evidence, logs.top, logs.category_of)
    assert found is not None
    assert (
        found.rationale == "tents; found by dome tent; bought with it stoves; next sleeping bags; beside it lamps, toys"
    )
    assert fault(found.rationale) is None
    assert {logs.category_of[query] for query in found.queries} >= {TENTS, STOVES, BAGS}


def test_where_shoppers_tell_nothing_the_shelf_does() -> None:
    """Categories beside it in the tree fill the places of links, and no more; what is linked is not said twice."""
    top = {f"Yard > {name}": [(f"best {name.lower()}", 0.01)] for name in "ABCDE"}
    categories = {rows[0][0]: name for name, rows in top.items()}
    evidence = Evidence("category", "Yard", "Yard > Z", [], [], [], [Link("Yard > B", 9, 3.0, 0.5)], list(top))
    found = knowledge.answer(evidence, top, categories)
    assert found is not None
    assert found.queries == ["best b", "best a", "best c", "best d"]
    assert found.rationale == "z; next b; beside it a, c, d"
    assert evidence.says
    assert told(evidence)["categories_beside_it"] == list(top)


def test_a_linked_category_gets_a_place_among_many_queries_of_one() -> None:
    """Interleaved: ten queries of the trigger's own category do not crowd it out."""
    own = [(f"tent {chr(97 + n)}{chr(97 + n)}", 1.0 - n / 20) for n in range(12)]
    link = Link(STOVES, 9, 3.0, 0.1)
    evidence = Evidence("item", "Dome Tent", TENTS, [], own, [link], [])
    categories = {**{query: TENTS for query, _ in own}, "gas stove": STOVES}
    found = knowledge.answer(evidence, {STOVES: [("gas stove", 0.01)]}, categories)
    assert found is not None
    assert len(found.queries) == 10
    assert found.queries[0] == "tent aa"
    assert "gas stove" in found.queries
    assert found.rationale == "tents; bought with it stoves"


def test_without_evidence_there_is_no_answer(logs: Logs) -> None:
    """Rather than what is popular; and a query's list does not repeat it."""
    assert knowledge.answer(logs.evidence(item_trigger("unknown")), logs.top, logs.category_of) is None
    found = knowledge.answer(logs.evidence(query_trigger("dome tent")), logs.top, logs.category_of)
    assert found is not None
    assert "dome tent" not in found.queries
