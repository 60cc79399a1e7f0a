"""Why this hint: what became of every row that was proposed, and what its score is made of. Only for who asks."""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from service.contracts.hints import FINDS_COUNTED
from service.contracts.text import near_key
from service.ranking.candidates import LiveTrigger
from service.ranking.catalogue import Catalogue
from service.ranking.merge import Candidate, Proposal

_LIKE: Final = frozenset({"merged", "duplicate"})
"""What is not shown since something like it is there."""
_Origin = tuple[str, str, str | None]
"""Query, source, trigger."""


def as_json(hint: Candidate) -> dict[str, Any]:
    """Return a hint as it is answered."""
    return {"query": hint.query, "source": hint.source, "score": round(hint.score, 4), "trigger": hint.trigger}


class Explainer:
    """Hears from `merge` what is not shown, and tells of all candidates."""

    def __init__(
        self,
        proposals: Sequence[Proposal],
        triggers: Sequence[LiveTrigger],
        seen: Mapping[str, int] | None,
        catalogue: Catalogue,
        origins: Mapping[str, str],
    ) -> None:
        """`proposals` are what `merge` is given; `seen`: how often each near key was; None: nobody knows.

        `origins`: who put a query into the shopper's own list (`QueryList.origins`).
        """
        now = time.time()
        self._triggers, self._seen, self._catalogue, self._origins = triggers, seen, catalogue, origins
        self._ages = {key: now - live.ts for live in reversed(triggers) if live.ts for key in live.keys}
        self._rows: dict[_Origin, list[tuple[float, float, int]]] = defaultdict(list)
        for source, rows, weight, trigger in proposals:
            for rank, (_, query, written) in enumerate(rows):
                self._rows[query, source, trigger].append((weight, written, rank))
        self._dropped: list[tuple[Candidate, str]] = []

    def drop(self, candidate: Candidate, reason: str) -> None:
        """Hear of a candidate that is not shown."""
        self._dropped.append((candidate, reason))

    def told(self, shown: Sequence[Candidate], ranked: Sequence[Candidate], chances: Sequence[float]) -> dict[str, Any]:
        """Return the explanation: `ranked` could have been shown, `shown` is, each slot's with one of `chances`."""
        surplus = [(one, "surplus") for one in ranked if one not in shown]
        fates = [*((one, None) for one in shown), *surplus, *self._dropped]
        leaders = {
            near_key(one.query): one.query
            for one, reason in sorted(fates, key=lambda fate: (fate[1] is None, fate[0].score))
            if reason not in _LIKE
        }
        return {
            "propensity": chances,
            "triggers": [trigger.keys[0] for trigger in self._triggers],
            "candidates": [
                {
                    **as_json(one),
                    "dropped": reason,
                    "into": leaders.get(near_key(one.query)) if reason in _LIKE else None,
                    "origin": self._origins.get(one.query) if one.source == "u2q" else None,
                    "features": self._features(one),
                }
                for one, reason in fates
            ],
        }

    def _features(self, candidate: Candidate) -> dict[str, Any]:
        query, source, score, trigger = candidate
        rows = self._rows[query, source, trigger]
        # A score that no row has is a sum, and goes by the name of the row that gave most.
        weight, written, rank = next((row for row in rows if row[0] * row[1] == score), max(rows, key=_gives))
        age_s = self._ages.get(trigger) if trigger is not None else None
        return {
            "weight": round(weight, 4),
            "written": round(written, 4),
            "rank": rank,
            "trigger_age_s": None if age_s is None else round(age_s, 3),
            "seen": None if self._seen is None else self._seen.get(near_key(query), 0),
            "category": self._catalogue.query_category(query),
            "finds": self._catalogue.count(query, FINDS_COUNTED),
        }


def _gives(row: tuple[float, float, int]) -> float:
    return row[0] * row[1]
