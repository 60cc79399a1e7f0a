"""The teacher where there is none: answers from the logs alone, by rule, and says so in the rows (`NAME`).

Its rationale names the categories that shoppers buy with the trigger's, and those to which they go on; its list is
interleaved over them, so it covers more than what follows the trigger word by word. Where shoppers tell too little,
the categories beside it in the tree stand in. It knows what an imported shop supplies (logs, titles, categories),
nothing of how the sample shop was made.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from service.contracts.text import clean, near_key
from workers.common.list_parser import LIST_SIZE
from workers.common.prompt import field, leaf
from workers.think.evidence import Evidence, Link, Scored

NAME: Final = "knowledge"
_FADE: Final = 0.6
"""What a category's next query is worth beside its last one."""
_BEFORE: Final = 0.5
_LINKED: Final = 2.0
"""What led to the trigger, and what a linked category is known for, against what followed the trigger itself."""
_BESIDE: Final = 0.1
"""The share of a category that is there for its place in the tree alone: what a middling link has."""
_NAMED: Final = 4
_NAMED_PLACES: Final = 2
"""Categories that a rationale names, at most; and how many of the last places are theirs if they have none yet."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a teacher says of a trigger."""

    rationale: str
    queries: Sequence[str]


def answer(evidence: Evidence, top: Mapping[str, Scored], category_of: Mapping[str, str]) -> Answer | None:
    """Return the answer that the logs give; None if they say nothing. `top` and `category_of`: see `Logs`."""
    links = _links(evidence)
    queries = _interleaved(evidence, links, top, category_of)
    if not queries:
        return None
    covered = {category_of.get(query, "") for query in queries}
    return Answer(_rationale(evidence, [link for link in links if link.category in covered]), queries)


def _links(evidence: Evidence) -> list[Link]:
    """Return the linked categories by turns, what is bought together first; then those beside it, to fill up."""
    turns = [*evidence.bought, *evidence.following]
    half = len(evidence.bought)
    order = sorted(range(len(turns)), key=lambda at: (at if at < half else at - half, at >= half))
    chosen: dict[str, Link] = {}
    for at in order:
        chosen.setdefault(turns[at].category, turns[at])
    for category in evidence.beside:
        chosen.setdefault(category, Link(category, 0, 1.0, _BESIDE))
    return list(chosen.values())[:_NAMED]


def _interleaved(
    evidence: Evidence, links: Sequence[Link], top: Mapping[str, Scored], category_of: Mapping[str, str]
) -> list[str]:
    worth: dict[str, float] = {}
    sources = [(evidence.after, 1.0), (evidence.before, _BEFORE)]
    sources += [(top.get(link.category, ()), _LINKED * link.share) for link in links]
    for rows, weight in sources:
        for query, score in rows:
            worth[query] = worth.get(query, 0.0) + weight * score
    if evidence.kind == "query":
        worth.pop(evidence.subject, None)
    chosen: dict[str, str] = {}
    taken: dict[str, int] = {}
    missing = [link.category for link in links]
    while worth and len(chosen) < LIST_SIZE:
        last = LIST_SIZE - len(chosen) <= min(len(missing), _NAMED_PLACES)
        among = [query for query in worth if category_of.get(query, "") in missing] if last else []
        best = min(among or worth, key=lambda one: (-worth[one] * _FADE ** taken.get(category_of.get(one, ""), 0), one))
        del worth[best]
        if chosen.setdefault(near_key(best), best) == best:
            category = category_of.get(best, "")
            taken[category] = taken.get(category, 0) + 1
            missing = [one for one in missing if one != category]
    return list(chosen.values())


def _rationale(evidence: Evidence, links: Sequence[Link]) -> str:
    """Return the reasons: what it is, what is bought with it, what comes next, in the shop's own words."""
    bought, following = ({link.category for link in links} for links in (evidence.bought, evidence.following))
    about = leaf(evidence.category) or evidence.subject
    together = [leaf(link.category) for link in links if link.category in bought]
    later = [leaf(link.category) for link in links if link.category in following - bought]
    beside = [leaf(link.category) for link in links if link.category not in following | bought]
    found = [query for query, _ in evidence.before[:2]]
    said = [field(about)]
    said += [f"found by {', '.join(found)}"] * bool(found)
    said += [f"bought with it {', '.join(map(field, together))}"] * bool(together)
    said += [f"next {', '.join(map(field, later))}"] * bool(later)
    said += [f"beside it {', '.join(map(field, beside))}"] * bool(beside)
    return clean("; ".join(said))
