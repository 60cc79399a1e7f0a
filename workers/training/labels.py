"""Stage 2: interest-guided labels. One ordered list a moment: clicked > searched > ranked by what production knows.

Production is counts (`workers.training.counts`), ordered by trees (`service.ranking.next_search`).
"""

from collections.abc import Collection, Iterable

from service.ranking.next_search import NextSearch
from service.ranking.shopper_context import ShopperContext
from service.ranking.shortlist import distinct, shortlist
from workers.common.list_parser import LIST_SIZE
from workers.training.counts import Production
from workers.training.sessions import Moment

SEARCHED = 1
"""How many searches that came lead the ranked ones. With more, a line would be learned as what follows the line above
in a session, and a list, which is read as a set of guesses, would be one guess and its refinements."""


def label(moment: Moment, context: ShopperContext, ranker: NextSearch) -> list[str]:
    """Return the label of a moment: at most `LIST_SIZE` queries, no two alike; empty if nothing known was searched."""
    return order(moment, ranker.chances(context), ranker.counts.popularity)


def order(moment: Moment, ranked: Iterable[str], known: Collection[str]) -> list[str]:
    """Return the label of a moment from production's ranked queries; what is not among the `known` is left out."""
    coming = [act.query for act in moment.after if act.query is not None and act.query in known]
    if not coming:
        return []
    # A clicked hint is the first of what comes, so it leads, and the search after it is second.
    return distinct([*coming[: SEARCHED + moment.hinted], *shortlist(ranked, known, moment.own)], LIST_SIZE)


def trigger_label(key: str, wider: str, production: Production) -> list[str]:
    """Return the label of a trigger: by turns what led to it and what came after it; `wider` fills up."""
    after = production.counts.after
    later = [query for query, _ in (*after.get(key, ())[:8], *after.get(wider, ()))]
    before = [query for query, _ in production.before.get(key, ())]
    mixed: list[str] = []
    for n in range(max(len(later), len(before))):
        mixed += [*before[n : n + 1], *later[n : n + 1]]
    return distinct(mixed, LIST_SIZE)
