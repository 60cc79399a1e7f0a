"""The prompt of a shopper whose recent behaviour came from Redis."""

from collections.abc import Mapping, Sequence

from service.contracts.codecs import QUERY_TYPES, BehaviourEntry
from service.ranking.catalogue import Catalogue
from workers.common.prompt import Action, render_u2q


def shopper_prompt(
    behaviour: Sequence[BehaviourEntry],
    profile: Mapping[str, str],
    catalogue: Catalogue,
    now: float,
    candidates: Sequence[str] = (),
) -> str:
    """Return the prompt at `now` (epoch seconds) for `behaviour`, newest first; items are told by the catalogue.

    `candidates`: see `render_u2q`.
    """
    items = catalogue.items([entry.ref for entry in behaviour])
    actions = []
    for entry in reversed(behaviour):  # oldest first, so that equal times keep the order of arrival
        if entry.type in QUERY_TYPES:
            actions.append(Action(entry.type, entry.ts, entry.ref))
        elif entry.ref in items:  # an item that left the catalogue has nothing to tell
            actions.append(Action(entry.type, entry.ts, items[entry.ref].words))
    return render_u2q(actions, profile, now, candidates)
