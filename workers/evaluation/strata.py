"""Strata: by how much is known of the shopper, by how frequent the target is, by a new latest item, by locale."""

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import accumulate
from typing import Final

from service.contracts.codecs import QUERY_TYPES
from workers.evaluation.cases import Case, Split

COLD_EVENTS: Final = 2
HEAVY_EVENTS: Final = 30
"""More than this is heavy."""
_BANDS: Final = ("head", "torso", "tail")

Targets = Callable[[Case, Sequence[str]], Sequence[str]]
"""Which of a case's targets belong to a stratum; none: the case is not in it."""


def history_stratum(case: Case) -> str:
    """Return cold (0 to 2 events), warm, or heavy."""
    events = len(case.history)
    return "cold" if events <= COLD_EVENTS else "warm" if events <= HEAVY_EVENTS else "heavy"


def bands(split: Split) -> Mapping[str, str]:
    """Return the band of each query that learners searched: head has the first third of all searches, then torso.

    A query that is not there is tail.
    """
    ranked = sorted(split.searches.items(), key=lambda pair: (-pair[1], pair[0]))
    total = sum(split.searches.values())
    before = accumulate((count for _, count in ranked), initial=0)
    return {query: _BANDS[min(2, 3 * seen // total)] for (query, _), seen in zip(ranked, before, strict=False)}


def latest_item(case: Case) -> str | None:
    """Return the item that the shopper last clicked, put in the cart or bought, if any."""
    return next((act.ref for act in reversed(case.history) if act.type not in QUERY_TYPES), None)


def strata(split: Split) -> dict[str, dict[str, Targets]]:
    """Return the strata of the test cases by kind and name."""
    band_of = bands(split)
    seen = {act.ref for shopper in split.learners for act in shopper.history if act.type not in QUERY_TYPES}
    locales = sorted({case.profile.get("locale", "") for case in split.test})
    kinds: dict[str, dict[str, Targets]] = {
        "history": {name: _by_history(name) for name in ("cold", "warm", "heavy")},
        "target": {name: _by_band(name, band_of) for name in _BANDS},
        "item": {"seen": _by_item(seen, new=False), "unseen": _by_item(seen, new=True)},
    }
    if locales != [""]:
        kinds["locale"] = {locale or "unknown": _by_locale(locale) for locale in locales}
    return kinds


def _by_history(name: str) -> Targets:
    return lambda case, targets: targets if history_stratum(case) == name else ()


def _by_locale(locale: str) -> Targets:
    return lambda case, targets: targets if case.profile.get("locale", "") == locale else ()


def _by_item(seen: Collection[str], *, new: bool) -> Targets:
    def targets_of(case: Case, targets: Sequence[str]) -> Sequence[str]:
        item = latest_item(case)
        return targets if item is not None and (item not in seen) == new else ()

    return targets_of


def _by_band(name: str, band_of: Mapping[str, str]) -> Targets:
    return lambda _, targets: [query for query in targets if band_of.get(query, "tail") == name]
