"""From a model's text to a list of queries that may be shown. Every drop has a reason."""

import re
from collections import Counter
from collections.abc import Callable, Collection

from service.contracts.codecs import ScoredQuery
from service.contracts.text import near_key, normalise
from service.ranking.filter import reject_reason
from service.ranking.merge import rank_score
from workers.common.generator import Generation
from workers.common.prompt import SEPARATOR

LIST_SIZE = 10
# Chat models like to number and quote their lines.
_BULLET = re.compile(r"^\s*(?:[-*•]|\d{1,2}[.)])\s+")


def refusing(finds: Callable[[str], bool]) -> Callable[[str], str | None]:
    """Return what says, as `Catalogue.refuses` does, that a query finds nothing, where only `finds` is known."""
    return lambda query: None if finds(query) else "finds_nothing"


def parse_list(
    generation: Generation, drops: Counter[str], refuses: Callable[[str], str | None], exclude: Collection[str] = ()
) -> tuple[ScoredQuery, ...]:
    """Return up to `LIST_SIZE` distinct queries with their written-time scores; `drops` counts why others went.

    A prompt that was shortened is counted there too, as `prompt_shortened`.

    A query that `refuses` has a reason against is dropped (see `Catalogue.refuses`), and so is one like a query in
    `exclude`: the shopper just searched it.
    """
    lines = generation.text.split(SEPARATOR)
    if generation.truncated and lines:
        lines.pop()
        drops["truncated"] += 1
    if generation.shortened:
        drops["prompt_shortened"] += 1
    seen = {near_key(query) for query in exclude}
    queries: list[str] = []
    for line in lines:
        query = normalise(_BULLET.sub("", line).strip().strip("\"'"))
        if not query:
            continue
        reason = reject_reason(query)
        if reason is None and near_key(query) in seen:
            reason = "duplicate"
        elif reason is None:
            reason = refuses(query)
        if reason is not None:
            drops[reason] += 1
            continue
        seen.add(near_key(query))
        queries.append(query)
    if len(queries) > LIST_SIZE:
        drops["surplus"] += len(queries) - LIST_SIZE
    return tuple(ScoredQuery(query, rank_score(rank)) for rank, query in enumerate(queries[:LIST_SIZE]))
