"""A shopper's prompt from what Redis knows, and what a ranker finds for it."""

from collections.abc import Iterable, Sequence

from service.contracts.codecs import BehaviourEntry
from service.ranking.catalogue import Catalogue
from service.ranking.shopper_context import ShopperContext
from workers.common.prompt import with_candidates
from workers.common.ranked_list import Ranker
from workers.common.shopper_prompt import retrieved, shopper_context, shopper_prompt

BEHAVIOUR = [BehaviourEntry("search", 90.0, "tent"), BehaviourEntry("search", 50.0, "lamp")]


class Finds(Ranker):
    """Finds three queries, the likeliest of which nothing in the catalogue answers."""

    def chances(self, context: ShopperContext, generated: Sequence[str] = ()) -> dict[str, float]:
        """See `Ranker.chances`."""
        assert [entry.ref for entry in context.behaviour] == ["lamp", "tent"], "oldest first"
        return {"qwertyuiop": 0.9, "tent": 0.3, "camping tent": 0.2, **dict.fromkeys(generated, 0.0)}

    def shortlist(self, context: ShopperContext, ranked: Iterable[str], limit: int) -> list[str]:
        """See `Ranker.shortlist`."""
        del context
        return list(ranked)[:limit]


def test_candidates_are_what_finds_something(catalogue: Catalogue) -> None:
    """As many as the model was taught with; none without a ranker, or for a model that was taught without."""
    assert catalogue.refuses("qwertyuiop")
    context = shopper_context(BEHAVIOUR, {}, catalogue, 100.0)
    chances, told = retrieved(Finds(), context, catalogue, 1)
    assert list(chances) == ["qwertyuiop", "tent", "camping tent"]
    assert told == ["tent"]
    plain = "<u2q><now><search>\nlamp<search>\ntent"
    assert shopper_prompt(context) == plain + "<hints>"
    assert with_candidates(shopper_prompt(context), told) == plain + "<candidates>\ntent<hints>"
    assert retrieved(Finds(), context, catalogue, 0) == ({}, [])
    assert retrieved(None, context, catalogue, 1) == ({}, [])
