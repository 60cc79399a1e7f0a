"""Co-click recall: what the latest acts lead to by the logs."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from service.contracts.codecs import BehaviourEntry
from service.ranking.calibration import BY_HAND
from service.ranking.candidates import CO_CLICK_LIMIT, CO_CLICK_TRIGGERS, Written, live_triggers
from service.ranking.catalogue import Catalogue
from service.ranking.merge import rank_score
from service.ranking.trigger_table import TriggerTable
from service.recall import co_click
from tests.support import ANY_TEXT, TENT, TENT_CATEGORY, candidates_of


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> TriggerTable:
    """Return a small table."""
    path: Path = tmp_path_factory.mktemp("table") / "co_click.mdb"
    TriggerTable.write(
        path,
        [
            ("query:stove", [("gas", 0.3), ("lamp", 0.1)]),
            (f"category:{TENT_CATEGORY}", [("lamp", 0.25), ("rope", 0.2)]),
            ("query:much", [(f"word {'x' * n}", 0.01) for n in range(1, 100)]),
        ],
    )
    return TriggerTable.open(path)


class _Shop:
    """The catalogue, with another table."""

    calibration = BY_HAND

    def __init__(self, catalogue: Catalogue, table: TriggerTable) -> None:
        self.category, self.co_click = catalogue.category, table


def _recall(catalogue: Catalogue, table: TriggerTable, *refs: tuple[str, str]) -> list[tuple[str, str | None]]:
    behaviour = [BehaviourEntry(kind, 100.0 - n, ref) for n, (kind, ref) in enumerate(refs)]
    shop: Any = _Shop(catalogue, table)
    found = candidates_of(co_click.recall(shop, live_triggers(behaviour, shop, CO_CLICK_TRIGGERS)))
    assert [one.score for one in found] == [rank_score(rank) for rank in range(len(found))]
    assert all(one.source == "co_click" for one in found)
    return [(one.query, one.trigger) for one in found]


def test_scores_add_up_over_triggers(catalogue: Catalogue, table: TriggerTable) -> None:
    """Two that lead to the lamp say more than one; an item without a list speaks for its category."""
    found = _recall(catalogue, table, ("search", "Stove"), ("click", TENT))
    assert [query for query, _ in found] == ["gas", "lamp", "rope"]
    assert dict(found)["lamp"] == f"category:{TENT_CATEGORY}", "the trigger that says most for it"


def test_what_is_newer_than_the_list_outweighs_it(catalogue: Catalogue, table: TriggerTable) -> None:
    """By rank within the trigger; what is older says as much as ever."""
    shop: Any = _Shop(catalogue, table)
    acts = [BehaviourEntry("search", 100.0, "stove"), BehaviourEntry("click", 50.0, TENT)]
    triggers = live_triggers(acts, shop, CO_CLICK_TRIGGERS)
    plain = {one.query: one.score for one in candidates_of(co_click.recall(shop, triggers))}
    newer = {one.query: one.score for one in candidates_of(co_click.recall(shop, triggers, Written(70.0, 2.0)))}
    assert newer["gas"] > 2.0 > plain["gas"]
    assert {query for query in newer if newer[query] == plain[query]} == {"lamp", "rope"}
    older = candidates_of(co_click.recall(shop, triggers, Written(100.0, 2.0)))
    assert {one.query: one.score for one in older} == plain


def test_nothing_known_nothing_recalled(catalogue: Catalogue, table: TriggerTable) -> None:
    """A new shopper, and triggers that nobody had."""
    assert _recall(catalogue, table) == []
    assert _recall(catalogue, table, ("search", "unheard of"), ("click", "gone")) == []
    assert len(_recall(catalogue, table, ("search", "much"))) == CO_CLICK_LIMIT


@given(ANY_TEXT)
def test_any_trigger_may_be_asked_for(table: TriggerTable, text: str) -> None:
    """Clients send nonsense, and LMDB has limits on keys."""
    assert table.first([text, text * 50]) == ("", ())


def test_a_list_is_read_once(table: TriggerTable, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request asks for a dozen triggers, most of which other requests asked for, or which have no list."""
    asked = ["query:nobody had", "query:stove"]
    found = table.first(asked)
    assert [query for _, query, _ in found[1]] == ["gas", "lamp"]
    monkeypatch.setattr(table, "_environment", None)
    assert table.first(asked) == found
