"""What lists are drawn for in IL-GRPO: moments of training shoppers and triggers, and what a list for each is worth."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from service.contracts.codecs import BehaviourEntry
from service.contracts.errors import ArtefactError
from service.contracts.keys import Trigger
from service.ranking.ctr import CtrScorer, sigmoid
from service.ranking.shopper_context import ShopperContext
from service.ranking.shortlist import OWN_KEPT
from workers.common.prompt import MAX_EVENTS, with_reasons
from workers.common.reasons import Lesson
from workers.training.labels import order
from workers.training.next_search import AHEAD
from workers.training.recipe import DataRecipe, RewardWeights
from workers.training.rewards import LineScores, Written, droppable, query_rewards, sequence_reward
from workers.training.samples import Shop, lesson_labels, x2q_labels
from workers.training.sessions import moments

_USUAL_CLICK, _USUAL_SEARCH = 2.0, 4.0
"""A chance of a click, and the root of one of a search, count up to so many times the usual one."""


@dataclass(frozen=True, slots=True)
class Occasion:
    """A moment or trigger: the prompt, the label list, what was searched next, and what the CTR ranker needs to know.

    `expected`: what production expects of a query, over what it expects of the label's; `own`: searched before.
    """

    prompt: str
    labels: Sequence[str]
    coming: Sequence[str]
    context: ShopperContext
    expected: Mapping[str, float] = field(default_factory=dict)
    own: Collection[str] = ()


def occasions(shop: Shop, recipe: DataRecipe, count: int, seed: int, progress: Callable[[int], None]) -> list[Occasion]:
    """Return `count` moments of shoppers drawn by `seed`; `progress` hears of moments found.

    Raises:
        ArtefactError: there is not a single moment after which something known was searched.
    """
    rng = np.random.default_rng(seed)
    found: list[Occasion] = []
    while len(found) < count:
        before = len(found)
        for place in rng.permutation(len(shop.histories)).tolist():
            history = shop.histories[place]
            drawn = list(moments(history, 2, recipe.label_window_days, shop.period, rng))
            for n in rng.permutation(len(drawn))[:1].tolist():
                moment = drawn[n]
                context = shop.context(moment, history.profile)
                chances = shop.ranker.chances(context)
                if queries := order(moment, chances, shop.production.popularity):
                    coming = [act.query for act in moment.after if act.query is not None][:AHEAD]
                    shown, own = shop.ranker.shortlist(context, chances, recipe.candidates), moment.own
                    acts = moment.before[-2 * MAX_EVENTS :]
                    prompt = shop.prompt(acts, history.profile, moment.now, shown, rng, plain=recipe.plain)
                    found.append(Occasion(prompt, queries, coming, context, expected(chances, queries), own))
                    progress(1)
            if len(found) == count:
                break
        if len(found) == before:
            raise ArtefactError("nothing known was searched after any moment before the cut-off; use longer logs")
    return found


def of_triggers(shop: Shop, lessons: Sequence[Lesson], count: int, seed: int) -> list[Occasion]:
    """Return `count` occasions of triggers drawn by `seed`, one after the other for each kind of prompt that there is.

    A list alone is asked for items and categories; with reasons, for the triggers of `lessons`, whose lists are labels.
    Nothing is known to be searched next, and a click is that of a shopper of whom the trigger alone is known.

    Raises:
        ArtefactError: there is no trigger.
    """
    rng = np.random.default_rng(seed)
    asked = [(one.trigger, with_reasons(one.prompt), queries) for one, queries in lesson_labels(shop, lessons)]
    pools = [pool for pool in (list(x2q_labels(shop)), asked) if pool]
    if count and not pools:
        raise ArtefactError("no item or category led to a known search before the cut-off: set triggers to 0")
    drawn = (pools[n % len(pools)][int(rng.integers(len(pools[n % len(pools)])))] for n in range(count))
    return [_of_trigger(shop, key, prompt, queries) for key, prompt, queries in drawn]


def _of_trigger(shop: Shop, key: Trigger, prompt: str, queries: Sequence[str]) -> Occasion:
    kind, _, name = key.partition(":")
    now, counts = shop.period[1], shop.production.counts
    act = {"item": "click", "query": "search"}.get(kind)
    behaviour = [BehaviourEntry(act, now, name)] if act else []
    profile = {"segment": name} if kind == "segment" else {}
    after = counts.popular_with(profile) if profile else dict(counts.after.get(name if kind == "query" else key, ()))
    context = ShopperContext(now, behaviour, profile, shop.catalogue)
    return Occasion(prompt, queries, (), context, expected(after, queries))


def expected(chances: Mapping[str, float], labels: Sequence[str]) -> dict[str, float]:
    """Return the root of each query's chance over the mean root of the label's queries.

    The root, since a shopper's own queries are so much likelier that nothing else would count beside them; no more than
    that, or a list would learn to give them up (docs/experiments.md).
    """
    usual = [math.sqrt(chances[query]) for query in labels if query in chances]
    if not sum(usual):
        return {}
    mean = sum(usual) / len(usual)
    return {query: math.sqrt(chance) / mean for query, chance in chances.items()}


class Rewarder(Protocol):
    """Says what a list is worth."""

    def rewards(self, occasion: Occasion, written: Written) -> tuple[list[float], float]:
        """Return a reward for each line, and one for the list."""
        ...


@dataclass(frozen=True)
class CtrRewarder:
    """Gives rewards for lists: by the CTR ranker, by what production expects, by what was searched next, by form."""

    scorer: CtrScorer
    finds: Callable[[str], bool]
    weights: RewardWeights

    def rewards(self, occasion: Occasion, written: Written) -> tuple[list[float], float]:
        """See `Rewarder.rewards`."""
        dropped = droppable(written, self.finds, occasion.own, OWN_KEPT)
        usual = float(sigmoid(np.array([self.scorer.meta.bias]))[0])
        chances = self.scorer.score(occasion.context, list(written.lines)) / usual
        scores = LineScores(
            ctr=np.minimum(chances, _USUAL_CLICK).tolist(),
            expected=[min(_USUAL_SEARCH, occasion.expected.get(line, 0.0)) for line in written.lines],
        )
        queries = query_rewards(written, occasion.labels, occasion.coming, scores, dropped, self.weights)
        return queries, sequence_reward(written, occasion.labels, dropped)
