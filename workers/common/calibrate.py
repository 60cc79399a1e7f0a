"""Weigh the sources of an artefact by the CTR ranker, so that their scores mean the same (`Calibration`).

Past moments of shoppers are replayed: what would each source have proposed, and how likely would each query be clicked?
`merge` adds up weight x score over the sources that propose a query, and compares queries of one request alone. So the
weights are those with which these very sums are nearest to the chances: least squares, none negative, with a constant
for each request. The constant takes out what moves all chances of a request alike (who asks, and when), which would
pass for the merit of the sources that such shoppers get. Adding up is part of the fit: what a source adds to a query
that another proposes too is what it says beyond that.

The moments are of the shoppers and days that rankers learn from. The artefact may have counted those shoppers too; on
the sample shop, weights from shoppers that it had not counted are the same within their intervals.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.optimize import nnls

from service.contracts.codecs import QUERY_TYPES, BehaviourEntry
from service.contracts.errors import ArtefactError
from service.contracts.hints import DEFAULT_HINTS
from service.contracts.text import near_key
from service.ranking.calibration import BY_HAND, UNWEIGHTED, Calibration
from service.ranking.candidates import (
    CO_CLICK_TRIGGERS,
    POPULAR_SPARE,
    RECENT_EVENTS,
    from_co_click,
    from_popular,
    from_text,
    live_triggers,
)
from service.ranking.catalogue import Catalogue
from service.ranking.merge import recent_searches
from service.ranking.shopper_context import ShopperContext
from workers.common.click_order import ClickScorer
from workers.common.dataset import Dataset
from workers.common.learning import read_events
from workers.common.split import cut_off

MOMENTS: Final = 3000
_A_SHOPPER: Final = 2
"""Moments drawn of each shopper."""
MIN_MOMENTS: Final = 100
FLOOR: Final = 0.01
"""The least weight, of the best source's: who adds nothing still fills up the list."""
_SOURCES: Final = tuple(BY_HAND.as_json())
Matrix = NDArray[np.float64]


class _Moment(NamedTuple):
    """What a request at `now` (epoch seconds) would have known; `behaviour` is newest first."""

    now: float
    behaviour: Sequence[BehaviourEntry]
    profile: Mapping[str, str]


def calibrate(
    catalogue: Catalogue,
    dataset: Dataset,
    scorer: ClickScorer,
    seed: int = 1,
    advance: Callable[[int, int], None] = lambda _done, _total: None,
) -> Calibration:
    """Return the weights of `catalogue`'s sources; see `weigh`.

    `advance` hears of moments done, and of how many there are.

    Raises:
        ArtefactError: the logs are too short, or the ranker finds no source's proposals better than another's.
    """
    bare = replace(catalogue, calibration=UNWEIGHTED)
    moments = _moments(dataset, seed)
    replayed: list[tuple[Matrix, Matrix]] = []
    for moment in moments:
        scores, chances = _replayed(moment, bare, scorer)
        if len(chances) > 1:
            replayed.append((scores, chances))
        advance(1, len(moments))
    if len(replayed) < MIN_MOMENTS:
        raise ArtefactError(
            f"{dataset.root}: {len(replayed)} moments at which there is something to choose from; weighing sources "
            f"needs {MIN_MOMENTS}: use logs of more shoppers, or leave out --ctr"
        )
    return weigh(replayed)


def weigh(replayed: Sequence[tuple[Matrix, Matrix]]) -> Calibration:
    """Return the weights with which the sums of scores are nearest to the chances, up to a constant for each request.

    The best source weighs what the best of these weighs by hand; one that proposes nothing keeps its weight by hand.
    `replayed` holds by request the scores that sources give, (queries, sources), and the chances, (queries,).

    Raises:
        ArtefactError: no source puts first what is likely to be clicked.
    """
    table = np.vstack([scores - scores.mean(axis=0) for scores, _ in replayed])
    there = np.flatnonzero(np.vstack([scores for scores, _ in replayed]).any(axis=0)).tolist()
    found, _ = nnls(table[:, there], np.concatenate([chances - chances.mean() for _, chances in replayed]))
    best = found.max(initial=0.0)
    if not best > 0:
        raise ArtefactError("the CTR ranker does not like what sources put first; train it anew, or leave out --ctr")
    weights = BY_HAND.as_json()
    scale = max(weights[_SOURCES[place]] for place in there)
    for place, weight in zip(there, (scale * np.maximum(found / best, FLOOR)).round(4).tolist(), strict=True):
        weights[_SOURCES[place]] = weight
    return Calibration(**weights)


def _moments(dataset: Dataset, seed: int) -> list[_Moment]:
    """Draw moments at which the shopper has a history: of the others, each is offered what is popular and no more."""
    rng = np.random.default_rng(seed)
    end = cut_off(dataset.manifest)
    events = read_events(dataset)
    users = events["user_id"].unique().sort()
    drawn = users[rng.permutation(len(users))[: MOMENTS // _A_SHOPPER]]
    profiles = dataset.profile_texts()
    found: list[_Moment] = []
    events = events.filter(pl.col("user_id").is_in(drawn.implode()))
    for (user,), rows in events.group_by("user_id", maintain_order=True):
        told = rows.select("type", "ts", pl.coalesce("query", "item_id")).iter_rows()
        acts = [BehaviourEntry(*act) for act in told]
        for now in rng.uniform(acts[0].ts, end, _A_SHOPPER).tolist():
            before = [act for act in reversed(acts) if act.ts < now][:RECENT_EVENTS]
            found.append(_Moment(now, before, profiles.get(str(user), {})))
    return found


def _replayed(moment: _Moment, catalogue: Catalogue, scorer: ClickScorer) -> tuple[Matrix, Matrix]:
    """Return the scores that sources give to what may be shown, (queries, sources), and the chances, (queries,)."""
    excluded = {"", *map(near_key, recent_searches([(act.type, act.ref) for act in moment.behaviour]))}
    rows: dict[str, tuple[str, Matrix]] = {}
    for key, query, source, score in _proposed(moment, catalogue):
        if key not in excluded and not catalogue.refuses(query):
            scores = rows.setdefault(key, (query, np.zeros(len(_SOURCES))))[1]
            place = _SOURCES.index(source)
            scores[place] = max(scores[place], score)  # as `merge`: of a source, the best counts
    items = catalogue.items([act.ref for act in moment.behaviour if act.type not in QUERY_TYPES])
    context = ShopperContext(moment.now, moment.behaviour, moment.profile, items)
    chances = scorer.score(context, [query for query, _ in rows.values()]).astype(np.float64)
    return np.array([scores for _, scores in rows.values()]).reshape(-1, len(_SOURCES)), chances


def _proposed(moment: _Moment, catalogue: Catalogue) -> Iterator[tuple[str, str, str, float]]:
    """Yield near key, query, source and score of what a request would find in the artefact."""
    triggers = live_triggers(moment.behaviour, catalogue, CO_CLICK_TRIGGERS)
    proposals = from_co_click(triggers, catalogue) + from_text(triggers, catalogue)
    proposals += from_popular(catalogue, moment.profile, DEFAULT_HINTS + POPULAR_SPARE, moment.now)
    for source, rows, weight, _ in proposals:
        for key, query, score in rows:
            yield key, query, source, weight * score
