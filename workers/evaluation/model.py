"""The model alone: its list for each shopper (u2q), through the prompt and the parser of the Direct worker."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from service.contracts.codecs import QUERY_TYPES, BehaviourEntry, ScoredQuery
from service.contracts.settings import BehaviourSettings
from service.ranking.catalogue import Catalogue, Item
from service.ranking.merge import recent_searches
from service.ranking.shopper_context import ShopperContext
from workers.common.generator import Generation
from workers.common.list_parser import parse_list
from workers.common.prompt import SEPARATOR, Action, render_plain, render_u2q
from workers.common.ranked_list import Ranker
from workers.common.shopper_prompt import retrieved, shopper_context
from workers.evaluation.cases import Act, Case
from workers.evaluation.methods import K, Lists

KEPT: Final[int] = BehaviourSettings().max_events
"""The latest actions of a shopper that are kept for the Direct worker."""
# What the parser drops for other reasons than bad format.
_CONTENT: Final = frozenset({"duplicate", "finds_nothing", "surplus"})


def actions_of(case: Case, names: Mapping[str, str]) -> list[Action]:
    """Return what the prompt may tell of a case; `names` says what stands for an item.

    As in the worker, an item that is not in the catalogue is left out.
    """
    told: list[Action] = []
    for act in case.history[-KEPT:]:
        if act.type in QUERY_TYPES:
            told.append(Action(act.type, act.ts, act.ref))
        elif act.ref in names:
            told.append(Action(act.type, act.ts, names[act.ref]))
    return told


def prompt_of(case: Case, words: Mapping[str, str], now: float, candidates: Sequence[str] = ()) -> str:
    """Return the Direct prompt of a case at the cut-off `now`; `words` stand for items (`Item.words`)."""
    return render_u2q(actions_of(case, words), case.profile, now, candidates)


def candidates_of(case: Case, ranker: Ranker | None, catalogue: Catalogue, now: float, limit: int) -> list[str]:
    """Return what the Direct prompt of a case tells of the ranker's candidates."""
    behaviour = [BehaviourEntry(act.type, act.ts, act.ref) for act in reversed(case.history[-KEPT:])]
    return retrieved(ranker, shopper_context(behaviour, case.profile, catalogue, now), catalogue, limit)[1]


def context_of(case: Case, items: Mapping[str, Item], now: float) -> ShopperContext:
    """Return what rankers are told of a case at the cut-off `now`; `items`: at least those that it names."""
    known = [BehaviourEntry(act.type, act.ts, act.ref) for act in case.history[-KEPT:]]
    return ShopperContext(now, known, case.profile, items)


def plain_prompt_of(case: Case, titles: Mapping[str, str], now: float, candidates: Sequence[str] = ()) -> str:
    """Return the same in plain language, which the compressed rendering is measured against."""
    return render_plain(actions_of(case, titles), case.profile, now, candidates)


def recently_searched(acts: Sequence[Act]) -> list[str]:
    """Return the queries among `acts` that serving leaves out."""
    return recent_searches([(act.type, act.ref) for act in acts])


@dataclass(frozen=True)
class ModelLists:
    """The lists of one checkpoint. `generations` by prompt, `prompts` by user id; `refuses` as a worker's catalogue."""

    name: str
    prompts: Mapping[str, str]
    generations: Mapping[str, Generation]
    refuses: Callable[[str], str | None]

    def scored(self, case: Case, *, novel: bool) -> tuple[ScoredQuery, ...]:
        """Return the parsed list; for novel targets, recent searches are left out as when serving."""
        generation = self.generations.get(self.prompts[case.user_id])
        if generation is None:
            return ()
        exclude = recently_searched(case.history[-KEPT:]) if novel else ()
        return parse_list(generation, Counter(), self.refuses, exclude)

    def suggest(self, cases: Sequence[Case], k: int = K, *, novel: bool = False) -> Lists:
        """See `Method.suggest`."""
        return [
            [
                one.query
                for one in self.scored(case, novel=novel)
                if not novel or one.query not in case.searched
            ][:k]
            for case in cases
        ]  # fmt: skip


@dataclass(frozen=True)
class Quality:
    """How well-formed generations are."""

    format_valid: float
    """Share of generations that are whole, have a query, and of which no line is dropped for its format."""
    dup_rate: float
    """Share of generated lines that repeat an earlier line of their list (near-duplicates too)."""
    nothing_rate: float
    """Share of generated lines that find nothing: workers drop them."""
    drops: dict[str, int]
    lists: list[list[str]] = field(repr=False)
    """The well-formed distinct queries of each generation, unknown words included."""


def quality(generations: Sequence[Generation | None], refuses: Callable[[str], str | None]) -> Quality:
    """Judge the generations of the cases, each as often as it is used; a refused prompt is not valid."""
    valid = lines = 0
    drops: Counter[str] = Counter()
    lists: list[list[str]] = []
    for generation in generations:
        if generation is None:
            drops["refused"] += 1
            continue
        parsed: Counter[str] = Counter()
        lists.append([one.query for one in parse_list(generation, parsed, lambda _: None)])
        lines += sum(1 for line in generation.text.split(SEPARATOR) if line.strip())
        valid += bool(lists[-1]) and not parsed.keys() - _CONTENT
        parse_list(generation, known := Counter[str](), refuses)
        drops.update(known)
    return Quality(
        format_valid=valid / max(1, len(generations)),
        dup_rate=drops["duplicate"] / max(1, lines),
        nothing_rate=drops["finds_nothing"] / max(1, lines),
        drops=dict(sorted(drops.items())),
        lists=lists,
    )
