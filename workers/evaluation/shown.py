"""Some shoppers drawn by lot: what they did, what each row suggests, and what they searched next."""

import random
from collections.abc import Mapping, Sequence
from typing import Any, Final

from service.contracts.codecs import QUERY_TYPES
from workers.evaluation.cases import Act, Case, Item, Split
from workers.evaluation.measure import Suggested
from workers.evaluation.metrics import SHOWN

DID: Final = 8
"""The latest acts that are told."""
_HIT: Final = "✓ "
_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_DAY_S: Final = 86_400
_VERBS: Final = {
    "search": "searched",
    "hint_click": "took the hint",
    "click": "looked at",
    "cart": "put in the cart",
    "purchase": "bought",
}
Shown = dict[str, Any]


def drawn(suggested: Mapping[str, Suggested], split: Split, number: int, seed: int) -> list[Shown]:
    """Return `number` test cases drawn by `seed`, in the order of the cases; all of them if there are fewer.

    The lists are those for novel targets: what a request would answer.
    """
    places = sorted(random.Random(seed).sample(range(len(split.test)), min(number, len(split.test))))  # noqa: S311
    return [_shown(split.test[place], place, suggested, split) for place in places]


def _shown(case: Case, place: int, suggested: Mapping[str, Suggested], split: Split) -> Shown:
    return {
        "user_id": case.user_id,
        "profile": dict(case.profile),
        "events": len(case.history),
        "did": [_told(act, split.items, split.now) for act in case.history[-DID:]],
        "next": [{"query": query, "novel": query in case.novel_targets} for query in case.targets],
        "suggested": {
            name: [{"query": query, "hit": query in case.targets} for query in one.novel[place][:SHOWN]]
            for name, one in suggested.items()
        },
    }


def _told(act: Act, items: Mapping[str, Item], now: float) -> str:
    known = act.type in QUERY_TYPES or act.ref not in items
    return f"{_ago(now - act.ts)} {_VERBS.get(act.type, act.type)} {act.ref if known else items[act.ref].title}"


def _ago(seconds: float) -> str:
    for unit, length in (("d", _DAY_S), ("h", _HOUR_S)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds / _MINUTE_S:.0f} min ago"


def lines(one: Shown) -> list[tuple[str, str]]:
    """Return what is shown of a shopper as (label, text), hits marked."""
    told: list[tuple[str, str]] = [("did", "\n".join(one["did"]) or "(nothing is known)")]
    told += [(name, _listed(queries)) for name, queries in one["suggested"].items()]
    searched = [target["query"] + " (as before)" * (not target["novel"]) for target in one["next"]]
    return [*told, ("searched next", " · ".join(searched))]


def _listed(queries: Sequence[Mapping[str, Any]]) -> str:
    return " · ".join(f"{_HIT * one['hit']}{one['query']}" for one in queries) or "(nothing)"
