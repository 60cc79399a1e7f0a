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
from typing import Final

import numpy as np
import polars as pl

from service.contracts.errors import ArtefactError
from workers.common.dataset import Dataset
from workers.shop.catalogue import Shop
from workers.shop.draws import Draws, Stream
from workers.shop.report.baselines import METHODS, Baselines, first_distinct
from workers.shop.report.belief import Belief, Beliefs
from workers.shop.report.cases import HitRate, Life, hit_rate
from workers.shop.report.replay import Replay, branch, replay
from workers.shop.report.rollouts import foresee

ORACLES: Final = ("oracle_visible", "oracle")
MOST_UNLIKE: Final = 0.02
"""More shoppers than this share replayed otherwise means that the code has changed since."""

Suggest = Callable[[Life], list[str]]


@dataclass(frozen=True, slots=True)
class Difficulty:
    """Hit rates by method: on all cases (no oracles), on the oracles' cases, and on those of them with a history."""

    all_cases: dict[str, HitRate]
    same_cases: dict[str, HitRate]
    with_history: dict[str, HitRate]
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
    """Score baselines on all `lives` that search after the cut-off, and everything on the `sample` of them."""
    rng = np.random.default_rng(seed)
    methods: dict[str, Suggest] = {name: partial(method, baselines) for name, method in METHODS.items()}
    cases = [life for life in lives if life.after]
    everywhere = {name: hit_rate([life.hit(of(life)) for life in cases], rng) for name, of in methods.items()}
    hits = {name: [life.hit(of(life)) for life in sample] for name, of in (methods | oracles).items()}
    known = [n for n, life in enumerate(sample) if life.before]
    return Difficulty(
        all_cases=everywhere,
        same_cases={name: hit_rate(found, rng) for name, found in hits.items()},
        with_history={name: hit_rate([found[n] for n in known], rng) for name, found in hits.items()},
        left_out=left_out,
    )


class Oracles:
    """The two oracles, for cases among a dataset's first shoppers.

    Raises:
        ArtefactError: the dataset is not what this code and this shop make of its seed.
    """

    def __init__(
        self, dataset: Dataset, lives: Sequence[Life], events: pl.DataFrame, cut: float, *, cases: int, shop: Shop
    ) -> None:
        wanted = list(islice((life for life in lives if life.after), cases))
        if not wanted:
            raise ArtefactError(f"{dataset.root}: no shopper searches after the cut-off; generate more shoppers")
        last = int(wanted[-1].user_id[1:])
        self.replay: Replay = replay(dataset, last, {life.user_id: life.visit for life in wanted}, shop)
        early = events.filter(pl.col("user_id") <= wanted[-1].user_id)
        logged = early.filter(pl.col("type") == "search").group_by("user_id").agg("query")
        searches = dict(logged.iter_rows())
        unlike = {user for user, texts in self.replay.searches.items() if texts != searches.get(user, [])}
        if len(unlike) > MOST_UNLIKE * last:
            raise ArtefactError(
                f"{dataset.root}: {len(unlike)} of {last} shoppers live otherwise when played again; "
                "the code has changed since: generate it again"
            )
        self.sample = [life for life in wanted if life.user_id not in unlike and life.user_id in self.replay.moments]
        self.left_out = len(wanted) - len(self.sample)
        self._shown: dict[str, Counter[str]] = {}
        shown = early.filter((pl.col("type") == "hint_exposure") & (pl.col("ts") < cut))
        for user, query in shown.select("user_id", "query").iter_rows():
            self._shown.setdefault(user, Counter())[query] += 1
        self._beliefs = Beliefs(self.replay.world)
        self._visits = self.replay.world.visits(self.replay.policy)

    def methods(self, baselines: Baselines, futures: int, seed: int, advance: Callable[[], None]) -> dict[str, Suggest]:
        """Return the oracles by name; `advance` is called after each case of each."""

        def oracle(life: Life) -> list[str]:
            moment = self.replay.moments[life.user_id]
            draws = _draws(seed, life)
            found = foresee(self._visits, partial(branch, moment.shopper), moment.ts, draws, futures)
            advance()
            return first_distinct(found, baselines.popular(life))

        def visible(life: Life) -> list[str]:
            # Of whom nothing was seen, nothing but the profile is known.
            found: list[str] = []
            if life.before:
                moment = self.replay.moments[life.user_id]
                shown = self._shown.get(life.user_id, Counter())
                belief = Belief(self._beliefs, life, moment.shopper.profile, moment.ts, shown)
                found = foresee(self._visits, belief.draw, moment.ts, _draws(seed, life), futures)
            advance()
            return first_distinct(found, baselines.popular(life))

        return dict(zip(ORACLES, (visible, oracle), strict=True))


def _draws(seed: int, life: Life) -> Draws:
    return Draws(seed, Stream.ORACLE, int(life.user_id[1:]))
