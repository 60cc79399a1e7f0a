"""AIGQ as served: the shopper's list, what the latest triggers lead to, co-click and popular queries, merged.

Candidates and merge are the service's own functions (`service.ranking`). Differences from serving: everything is
generated at the cut-off, and the catalogue's popular queries and words come from what may be learned.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from service.contracts.codecs import QUERY_TYPES, BehaviourEntry, ScoredQuery
from service.contracts.keys import Trigger
from service.ranking.calibration import BY_HAND, Calibration
from service.ranking.candidates import (
    MAX_TRIGGERS,
    POPULAR_MADE,
    POPULAR_SPARE,
    RECENT_EVENTS,
    Written,
    from_co_click,
    from_popular,
    from_text,
    from_u2q,
    from_x2q,
    refusal_of,
    request_triggers,
)
from service.ranking.catalogue import Catalogue
from service.ranking.merge import Row, merge, rows
from workers.common.click_order import ClickAware
from workers.common.generator import Generation
from workers.common.ranked_list import Ranker, ranked_list
from workers.common.reasons import parse_answer
from workers.common.triggers import TriggerPrompt
from workers.evaluation.cases import Case
from workers.evaluation.methods import K, Lists, Method, first_distinct
from workers.evaluation.model import KEPT, ModelLists, context_of, recently_searched

MERGED: Final = "aigq"
CONTEXT: Final = "popular_context"
WITHOUT: Final = "without_model"
"""As served if there were no model: what lists of a model add is `MERGED` over this."""
NO_LIST: Final = "no_list"
"""As served to who has no list yet."""
UNLED: Final = "no_list_without_think"
"""The same if no trigger had a list: what Think adds to who has none is `NO_LIST` over this."""
CALIBRATED: Final = "_calibrated"
"""Ends the names of rows for which a CTR ranker weighed the sources."""
THINK: Final = "think"
"""The triggers' lists alone (x2q)."""
WITHOUT_CTR: Final = "without_ctr"
"""As served if lists did not lean towards clicks."""
WITHOUT_THINK: Final = "without_think"
"""As served if no trigger had a list: what Think adds is `MERGED` over this."""
ROWS: Final = (
    CONTEXT, THINK, WITHOUT_THINK, UNLED, WITHOUT_CTR,
    *(name + end for end in ("", CALIBRATED) for name in (WITHOUT, NO_LIST, MERGED)),
)  # fmt: skip
TriggerLists = Mapping[Trigger, Sequence[ScoredQuery]]


def behaviour_of(case: Case) -> list[BehaviourEntry]:
    """Return what a request reads of the shopper, newest first."""
    return [BehaviourEntry(act.type, act.ts, act.ref) for act in reversed(case.history[-RECENT_EVENTS:])]


def wanted(chosen: Sequence[TriggerPrompt], cases: Sequence[Case], catalogue: Catalogue) -> list[TriggerPrompt]:
    """Return what of the triggers `chosen` for the Think job the cases look up."""
    asking = (request_triggers(behaviour_of(case), case.profile, catalogue) for case in cases)
    keys = {key for triggers in asking for live in triggers[:MAX_TRIGGERS] for key in live.keys}
    return [one for one in chosen if one.trigger in keys]


def trigger_lists(
    asked: Iterable[TriggerPrompt],
    answers: Mapping[Trigger, Generation],
    refuses: Callable[[str], str | None],
    drops: Counter[str],
) -> TriggerLists:
    """Return the parsed list of each trigger that got one; `drops` counts as in the Think job."""
    found: dict[Trigger, Sequence[ScoredQuery]] = {}
    for one in asked:
        generation = answers.get(one.trigger)
        answer = generation and parse_answer(one.prompt, generation, drops, refuses, one.excluded)
        if answer:
            found[one.trigger] = answer.queries
    return found


@dataclass(frozen=True)
class Merged:
    """The merged and ranked list."""

    name: str
    u2q: ModelLists
    x2q: TriggerLists
    catalogue: Catalogue
    now: float
    ranker: Ranker | None = None
    """Orders the shopper's list when it is written (`direct.ranker`)."""
    bought_s: float = 0.0
    """See `behaviour.bought_s`."""
    retrieval: bool = True
    """Whether co-click, words and popular queries add to the lists."""
    listed: bool = True
    """Whether there is a list of the shopper's own, written at `now`."""

    def suggest(self, cases: Sequence[Case], k: int = K, *, novel: bool = False) -> Lists:
        """See `Method.suggest`. For all targets nothing is left out; for novel ones, what a request leaves out."""
        return [self._answer(case, k, novel=novel) for case in cases]

    def _answer(self, case: Case, k: int, *, novel: bool) -> list[str]:
        behaviour = behaviour_of(case)
        exclude = recently_searched(case.history[-RECENT_EVENTS:]) if novel else []
        proposals = from_u2q(self._written(case, novel=novel))
        triggers = request_triggers(behaviour, case.profile, self.catalogue)
        written = Written(self.now) if self.listed else None
        proposals += from_x2q(triggers[:MAX_TRIGGERS], self._list_of, written)
        if self.retrieval:
            proposals += from_co_click(triggers, self.catalogue, written)
            proposals += from_text(triggers, self.catalogue, written)
            proposals += from_popular(self.catalogue, case.profile, k + POPULAR_SPARE, self.now)
        refuse = refusal_of(behaviour, case.profile, self.catalogue, self.now, self.bought_s)
        hints = merge(proposals, k, exclude, refuse=refuse)
        return [hint.query for hint in hints if not novel or hint.query not in case.searched]

    def _list_of(self, trigger: Trigger) -> list[Row] | None:
        return rows(self.x2q[trigger]) if trigger in self.x2q else None

    def _written(self, case: Case, *, novel: bool) -> Sequence[ScoredQuery]:
        """Return the list as the Direct worker writes it."""
        written = self.u2q.scored(case, novel=novel)
        if self.ranker is None:
            return written
        known = case.history[-KEPT:]
        items = self.catalogue.items([act.ref for act in known if act.type not in QUERY_TYPES])
        context = context_of(case, items, self.now)
        chances = self.ranker.ordered(context, self.ranker.chances(context, [one.query for one in written]))
        return ranked_list(chances, self.catalogue.refuses, recently_searched(known) if novel else ())


@dataclass(frozen=True)
class InContext:
    """What a request without a history gets: popular queries by all profile fields (the hour is the cut-off's)."""

    name: str
    catalogue: Catalogue
    now: float

    def suggest(self, cases: Sequence[Case], k: int = K, *, novel: bool = False) -> Lists:
        """See `Method.suggest`."""
        return [first_distinct(self._popular(case), limit=k, without=case.searched if novel else {}) for case in cases]

    def _popular(self, case: Case) -> list[str]:
        proposals = from_popular(self.catalogue, case.profile, POPULAR_MADE, self.now)
        return [query for proposal in proposals for _, query, _ in proposal.rows]


def served(
    lists: ModelLists,
    x2q: TriggerLists,
    catalogue: Catalogue,
    weights: Sequence[Calibration],
    now: float,
    ranker: Ranker | None,
) -> list[Method]:
    """Return the rows of what is served; those that weights move, once for each of `weights`."""
    nothing = replace(lists, generations={})
    found: list[Method] = [
        InContext(CONTEXT, catalogue, now),
        Merged(THINK, nothing, x2q, catalogue, now, retrieval=False),
        Merged(WITHOUT_THINK, lists, {}, catalogue, now, ranker),
        Merged(UNLED, nothing, {}, catalogue, now, listed=False),
        Merged(WITHOUT_CTR, lists, x2q, catalogue, now, ranker.searches if isinstance(ranker, ClickAware) else ranker),
    ]
    for calibration in weights:
        end = "" if calibration is BY_HAND else CALIBRATED
        weighed = replace(catalogue, calibration=calibration)
        found += [
            Merged(WITHOUT + end, nothing, {}, weighed, now, ranker),
            Merged(NO_LIST + end, nothing, x2q, weighed, now, listed=False),
            Merged(MERGED + end, lists, x2q, weighed, now, ranker),
        ]
    return found
