"""Why a query is not served: it finds too little, or is about what was just bought."""

from dataclasses import replace
from pathlib import Path

from service.contracts.codecs import BehaviourEntry
from service.ranking.candidates import bought_lately, refusal, refusal_of
from service.ranking.catalogue import Catalogue
from service.ranking.merge import Proposal, merge, rows
from tests.support import TENT, TENT_CATEGORY
from workers.common.artefacts import build


def test_a_query_must_find_enough(dataset: Path, tmp_path: Path) -> None:
    """Two items are for camping, one is a tent; with 0, whatever."""
    build(dataset, tmp_path)
    catalogue = Catalogue.open(tmp_path, 2)
    assert [catalogue.refuses(query) for query in ("camping", "tent", "for the")] == [None, *["finds_nothing"] * 2]
    assert catalogue.refuses("camping") is None, "from the cache"
    assert catalogue.renewed(tmp_path) is catalogue
    build(dataset, tmp_path)
    renewed = catalogue.renewed(tmp_path)
    assert renewed.refuses("tent"), "another version asks for as many"
    renewed.close()
    catalogue.close()


def test_what_may_be_bought_again_is_suggested(catalogue: Catalogue) -> None:
    """Purchases count for a while, and not in consumable categories; other acts and unknown items never."""
    acts = [("purchase", 50.0, TENT), ("click", 60.0, "stove-1"), ("purchase", 70.0, "gone"), ("search", 80.0, TENT)]
    behaviour = [BehaviourEntry(*act) for act in acts]
    assert bought_lately(behaviour, catalogue, 50.0) == {TENT_CATEGORY}
    assert bought_lately(behaviour, catalogue, 51.0) == set()
    assert bought_lately(behaviour, replace(catalogue, consumable=frozenset({TENT_CATEGORY})), 0.0) == set()


def test_the_refused_are_told(catalogue: Catalogue) -> None:
    """And leave their place to others."""
    queries = ("two person tent", "flying carpet", "gas camping stove", "video monitor")
    proposed = Proposal("u2q", rows([(query, 1.0 - 0.1 * rank) for rank, query in enumerate(queries)]))
    told: dict[str, str] = {}
    refuse = refusal(catalogue, {TENT_CATEGORY})
    merged = merge([proposed], 2, (), refuse=refuse, dropped=lambda one, why: told.update({one.query: why}))
    assert [one.query for one in merged] == ["gas camping stove", "video monitor"]
    assert told == {"two person tent": "bought", "flying carpet": "finds_nothing"}


def test_a_script_that_the_shopper_does_not_read(catalogue: Catalogue) -> None:
    """Neither by the locale nor by what was typed; Latin script is for everybody."""
    anything = replace(catalogue, min_results=0)
    typed = BehaviourEntry("search", 1.0, "帐篷")
    for locale, behaviour, reason in (("en-US", [], "language"), ("en-US", [typed], None), ("zh-CN", [], None)):
        refuse = refusal_of(behaviour, {"locale": locale}, anything, 2.0, 0.0)
        assert [refuse(query) for query in ("iphone 壳", "iphone 15", "café")] == [reason, None, None]
