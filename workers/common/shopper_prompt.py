"""The prompt of a shopper whose recent behaviour came from Redis."""

from collections.abc import Mapping, Sequence

from service.contracts.codecs import QUERY_TYPES, BehaviourEntry
from service.ranking.catalogue import Catalogue
from service.ranking.shopper_context import ShopperContext
from workers.common.prompt import Action, render_u2q
from workers.common.ranked_list import Ranker


def shopper_prompt(
    behaviour: Sequence[BehaviourEntry],
    profile: Mapping[str, str],
    catalogue: Catalogue,
    now: float,
    ranker: Ranker | None = None,
    candidates: int = 0,
) -> str:
    """Return the prompt at `now` (epoch seconds) for `behaviour`, newest first; items are told by the catalogue.

    With a `ranker` it tells the first `candidates` that find something, for a model that was taught with so many.
    """
    items = catalogue.items([entry.ref for entry in behaviour])
    actions = []
    for entry in reversed(behaviour):  # oldest first, so that equal times keep the order of arrival
        if entry.type in QUERY_TYPES:
            actions.append(Action(entry.type, entry.ts, entry.ref))
        elif entry.ref in items:  # an item that left the catalogue has nothing to tell
            actions.append(Action(entry.type, entry.ts, items[entry.ref].words))
    found: Sequence[str] = ()
    if ranker is not None and candidates:
        context = ShopperContext(now, behaviour[::-1], profile, items)
        found = ranker.shortlist(context, filter(catalogue.finds, ranker.chances(context)), candidates)
    return render_u2q(actions, profile, now, found)
