"""The prompt of a shopper whose recent behaviour came from Redis."""

from collections.abc import Mapping, Sequence

from service.contracts.codecs import QUERY_TYPES, BehaviourEntry
from service.ranking.catalogue import Catalogue
from service.ranking.shopper_context import ShopperContext
from workers.common.prompt import Action, render_u2q
from workers.common.ranked_list import Ranker


def shopper_context(
    behaviour: Sequence[BehaviourEntry], profile: Mapping[str, str], catalogue: Catalogue, now: float
) -> ShopperContext:
    """Return what is known at `now` (epoch seconds) of a shopper whose `behaviour` is newest first."""
    return ShopperContext(now, behaviour[::-1], profile, catalogue.items([entry.ref for entry in behaviour]))


def shopper_prompt(context: ShopperContext) -> str:
    """Return the prompt for a shopper; items are told by the catalogue. `with_candidates` adds what was `retrieved`."""
    actions = []
    for entry in context.behaviour:  # oldest first, so that equal times keep the order of arrival
        if entry.type in QUERY_TYPES:
            actions.append(Action(entry.type, entry.ts, entry.ref))
        elif entry.ref in context.items:  # an item that left the catalogue has nothing to tell
            actions.append(Action(entry.type, entry.ts, context.items[entry.ref].words))
    return render_u2q(actions, context.profile, context.now)


def retrieved(
    ranker: Ranker | None, context: ShopperContext, catalogue: Catalogue, limit: int
) -> tuple[dict[str, float], list[str]]:
    """Return what a ranker finds for a shopper, and of it the first `limit` that may be suggested: what a prompt tells.

    Nothing, for a model that was taught without candidates (`limit` 0).
    """
    if ranker is None or not limit:
        return {}, []
    chances = ranker.chances(context)
    # Not a list: asking the words of a query is dear, and the first ones are enough.
    may_tell = (query for query in chances if catalogue.refuses(query) is None)
    return chances, ranker.shortlist(context, may_tell, limit)
