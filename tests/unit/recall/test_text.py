"""Text recall: what items and queries of which the logs know nothing lead to."""

from pathlib import Path
from typing import Any

from service.contracts.codecs import BehaviourEntry
from service.ranking.calibration import BY_HAND
from service.ranking.candidates import CO_CLICK_TRIGGERS, Written, live_triggers
from service.ranking.merge import rank_score, ranked_score
from service.ranking.trigger_table import TriggerTable
from service.recall import text
from tests.support import candidates_of


class _Shop:
    """A catalogue that knows no categories, and a table."""

    calibration = BY_HAND

    def __init__(self, path: Path) -> None:
        lists = [
            ("item:new", [("trail shoes", 7.0), ("shoes", 3.0)]),
            ("item:older", [("lamp", 9.0)]),
            ("query:tarp", [("tent", 5.0)]),
        ]
        TriggerTable.write(path, lists)
        self.text = TriggerTable.open(path, by_rank=True)

    def category(self, item_id: str) -> None:
        """None is known."""
        del item_id


def test_the_latest_items_words_lead(tmp_path: Path) -> None:
    """By rank within an item, whatever its scores; older items weigh less; what the table lacks is passed over."""
    shop: Any = _Shop(tmp_path / "text.mdb")
    acts = [("click", "new"), ("click", "known"), ("search", "tent"), ("click", "older")]
    behaviour = [BehaviourEntry(kind, 100.0 - n, ref) for n, (kind, ref) in enumerate(acts)]
    found = candidates_of(text.recall(shop, live_triggers(behaviour, shop, CO_CLICK_TRIGGERS)))
    assert [(one.query, one.trigger) for one in found] == [
        ("trail shoes", "item:new"), ("shoes", "item:new"), ("lamp", "item:older"),
    ]  # fmt: skip
    assert found[0].score == BY_HAND.text > found[1].score
    assert found[0].score > found[2].score
    assert {one.source for one in found} == {"text"}
    searched = live_triggers([BehaviourEntry("search", 100.0, "Tarp")], shop, CO_CLICK_TRIGGERS)
    (of_query,) = candidates_of(text.recall(shop, searched))
    assert (of_query.query, of_query.trigger) == ("tent", "query:tarp")
    assert 0 < of_query.score < found[0].score
    lead, last = ranked_score(0), ranked_score(9)
    (fresh,) = candidates_of(text.recall(shop, searched, Written(99.0, lead)))
    assert lead > fresh.score > last, "newer than the list: a place in it"
    assert fresh.score * rank_score(1) < last, "but one"
    assert candidates_of(text.recall(shop, searched, Written(100.0, lead))) == [of_query]
    shop.text.close()
