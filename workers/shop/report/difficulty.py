"""How often the next searches can be foreseen: baselines, and two oracles as bounds, on the same cases.

`oracle` knows the shopper's true state at the cut-off. `oracle_visible` sees what the logs show and knows the shop's
structure and rates. Both know when the next visit begins, and both choose from imagined futures, so with finitely many
futures they stand a little below what is possible.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Final, NamedTuple

import numpy as np
import polars as pl

from service.contracts.errors import ArtefactError
from workers.common.dataset import Dataset
from workers.shop.catalogue import Shop
from workers.shop.draws import Draws, Stream
from workers.shop.report.baselines import METHODS, Baselines, first_distinct
from workers.shop.report.belief import Belief, Beliefs
from workers.shop.report.cases import HitRate, Life, hit, hit_rate
from workers.shop.report.replay import Replay, branch, replay, unlike
from workers.shop.report.rollouts import cover, foresee

ORACLES: Final = ("oracle_visible", "oracle")


class Lists(NamedTuple):
    """Suggestions for all next searches, and for those that the shopper had not made before."""

    everything: list[str]
    novel: list[str]


Suggest = Callable[[Life], Lists]
HitRates = dict[str, HitRate]


@dataclass(frozen=True, slots=True)
class Difficulty:
    """Hit rates by method: on all cases (no oracles), and on the oracles' cases and some of them."""

    all_cases: HitRates
    same_cases: HitRates
    with_history: HitRates
    cold: HitRates
    """Of whom two acts or fewer were seen."""
    novel: HitRates
    """Searches not made before count, by lists without those made before."""
    left_out: int
    """Shoppers that the replay did not repeat exactly."""


def judge(
    lives: Sequence[Life],
    baselines: Baselines,
    oracles: dict[str, Suggest],
    sample: Sequence[Life],
    left_out: int,
    seed: int,
) -> Difficulty:
    """Score baselines on all cases among `lives`, and everything on the `sample` of them."""
    rng = np.random.default_rng(seed)
    methods: dict[str, Suggest] = {name: partial(_lists, baselines, method) for name, method in METHODS.items()}
    suggested = {name: [of(life) for life in sample] for name, of in (methods | oracles).items()}

    def rates(of: Callable[[Life], bool], *, novel: bool = False) -> HitRates:
        chosen = [place for place, life in enumerate(sample) if of(life)]
        wanted = {place: sample[place].novel if novel else sample[place].after for place in chosen}
        return {
            name: hit_rate([hit(lists[place][novel], wanted[place]) for place in chosen], rng)
            for name, lists in suggested.items()
        }

    cases = [life for life in lives if life.is_case]
    return Difficulty(
        all_cases={
            name: hit_rate([hit(of(life).everything, life.after) for life in cases], rng)
            for name, of in methods.items()
        },
        same_cases=rates(lambda _: True),
        with_history=rates(lambda life: bool(life.before)),
        cold=rates(lambda life: life.cold),
        novel=rates(lambda life: bool(life.novel), novel=True),
        left_out=left_out,
    )


def _lists(baselines: Baselines, method: Callable[..., list[str]], life: Life) -> Lists:
    return Lists(method(baselines, life), method(baselines, life, life.searched))


class Oracles:
    """The two oracles, for cases among a dataset's first shoppers.

    Raises:
        ArtefactError: the dataset is not what this code and this shop make of its seed.
    """

    def __init__(
        self, dataset: Dataset, lives: Sequence[Life], events: pl.DataFrame, cut: float, *, cases: int, shop: Shop
    ) -> None:
        wanted = list(islice((life for life in lives if life.is_case), cases))
        if not wanted:
            raise ArtefactError(
                f"{dataset.root}: no shopper of the part test searches after the cut-off; generate more shoppers"
            )
        last = int(wanted[-1].user_id[1:])
        self.replay: Replay = replay(dataset, last, {life.user_id: life.visit for life in wanted}, shop)
        early = events.filter(pl.col("user_id") <= wanted[-1].user_id)
        otherwise = unlike(dataset, self.replay, early, last)
        self.sample = [life for life in wanted if life.user_id not in otherwise and life.user_id in self.replay.moments]
        self.left_out = len(wanted) - len(self.sample)
        self._shown: dict[str, Counter[str]] = {}
        shown = early.filter((pl.col("type") == "hint_exposure") & (pl.col("ts") < cut))
        for user, query in shown.select("user_id", "query").iter_rows():
            self._shown.setdefault(user, Counter())[query] += 1
        self._beliefs = Beliefs(self.replay.world)
        self._visits = self.replay.world.visits(self.replay.policy)

    def methods(self, baselines: Baselines, futures: int, seed: int, advance: Callable[[], None]) -> dict[str, Suggest]:
        """Return the oracles by name; `advance` is called after each case of each."""

        def oracle(life: Life) -> Lists:
            moment = self.replay.moments[life.user_id]
            draws = _draws(seed, life)
            found = foresee(self._visits, partial(branch, moment.shopper), moment.ts, draws, futures)
            advance()
            return _covered(found, baselines, life)

        def visible(life: Life) -> Lists:
            # Of whom nothing was seen, nothing but the profile is known.
            found: list[set[str]] = []
            if life.before:
                moment = self.replay.moments[life.user_id]
                shown = self._shown.get(life.user_id, Counter())
                belief = Belief(self._beliefs, life, moment.shopper.profile, moment.ts, shown)
                found = foresee(self._visits, belief.draw, moment.ts, _draws(seed, life), futures)
            advance()
            return _covered(found, baselines, life)

        return dict(zip(ORACLES, (visible, oracle), strict=True))


def _covered(futures: Sequence[set[str]], baselines: Baselines, life: Life) -> Lists:
    """Return what hits most futures; where that is too little, what is popular follows."""
    searched = life.searched
    novel = cover([future - searched for future in futures])
    return Lists(
        first_distinct(cover(futures), baselines.popular(life)),
        first_distinct(novel, baselines.popular(life, searched)),
    )


def _draws(seed: int, life: Life) -> Draws:
    return Draws(seed, Stream.ORACLE, int(life.user_id[1:]))
