"""A ranker whose lists lean towards what is clicked: the chance of the next search, times a power of that of a click.

What is searched next and what a shopper clicks on now are two things (docs/experiments.md, 2026-11-26): by searches
alone lists lose clicks, by clicks alone they lose searches.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from service.contracts.errors import ArtefactError
from service.ranking.ctr import CtrScorer
from service.ranking.next_search import NextSearch
from service.ranking.query_stats import Floats
from service.ranking.shopper_context import ShopperContext
from workers.common.ranked_list import Ranker

HEAD: Final = 60
"""How many of the likeliest are ordered anew: what is behind them is in no list of ten."""
_LEAST: Final = 1e-9


class ClickScorer(Protocol):
    """What says how likely a click is: `service.ranking.ctr.CtrScorer`."""

    def score(self, context: ShopperContext, queries: Sequence[str]) -> NDArray[np.float32]:
        """Return the chance of a click on each query if it is looked at, shape (queries,)."""
        ...


class FeatureScorer(ClickScorer, Protocol):
    """One that also tells it by what is known of the queries already."""

    def score_features(self, matrix: Floats) -> NDArray[np.float32]:
        """Return what `score` does from features, shape (queries, `service.ranking.features.FEATURES`)."""
        ...


class Describer(Ranker, Protocol):
    """A ranker of next searches that tells the features that it ranked by: `service.ranking.next_search.NextSearch`."""

    def described(
        self, context: ShopperContext, generated: Sequence[str], found: Mapping[str, float]
    ) -> tuple[dict[str, float], list[str], Floats]:
        """Return what `chances_with` does, and the features of the queries that were not `found` before."""
        ...


def open_scorer(folder: Path) -> CtrScorer:
    """Open the CTR ranker that orders lists or weighs sources.

    Raises:
        ArtefactError: it is missing or broken, or it is the one that judges.
    """
    scorer = CtrScorer.open(folder)
    if scorer.meta.part == "judge":
        raise ArtefactError(f"{folder}: judges what is shown, so it must not weigh it; train another: aigq train ctr")
    return scorer


def open_click_aware(folder: Path, ctr: Path, weight: float) -> "ClickAware":
    """Open the ranker in `folder` with the CTR ranker in `ctr`; see `ClickAware` for `weight`.

    Raises:
        ArtefactError: one of them is missing or broken, or the second is the one that judges.
    """
    searches, clicks = NextSearch.open(folder), open_scorer(ctr)
    alike = searches.candidates.stats.dump() == clicks.stats.dump()
    return ClickAware(searches, clicks, weight, alike=alike)


class _Chances(dict[str, float]):
    """Chances of the next search, likeliest first; `clicked` has those of a click on queries at the head."""

    def __init__(self, searched: Mapping[str, float], clicked: Mapping[str, float]) -> None:
        super().__init__(searched)
        self.clicked = clicked


class ClickAware(Ranker):
    """Finds and tells candidates as `searches` does, and orders lists by `searches` and `clicks` together."""

    def __init__(self, searches: Describer, clicks: FeatureScorer, weight: float, *, alike: bool = False) -> None:
        """`weight`: the power of the chance of a click; 0 leaves it out.

        `alike`: both know the same of queries, so that features of one are those of the other, unless a context tells
        what was `shown`; to compute them is most of what either costs.
        """
        self.searches = searches
        self._clicks = clicks
        self._weight = weight
        self._alike = alike and weight > 0

    def chances(self, context: ShopperContext, generated: Sequence[str] = ()) -> dict[str, float]:
        """See `Ranker`."""
        return self.chances_with(context, generated, {})

    def chances_with(
        self, context: ShopperContext, generated: Sequence[str], found: Mapping[str, float]
    ) -> dict[str, float]:
        """See `Ranker`."""
        if not self._alike:
            return self.searches.chances_with(context, generated, found)
        searched, queries, features = self.searches.described(context, generated, found)
        head = set(islice(searched, HEAD))
        rows = [row for row, query in enumerate(queries) if query in head]
        scores = self._clicks.score_features(features[rows]).tolist()
        told = {queries[row]: score for row, score in zip(rows, scores, strict=True)}
        return _Chances(searched, {**_clicked(found), **told})

    def shortlist(self, context: ShopperContext, ranked: Iterable[str], limit: int) -> list[str]:
        """See `Ranker`."""
        return self.searches.shortlist(context, ranked, limit)

    def ordered(self, context: ShopperContext, chances: Mapping[str, float]) -> Mapping[str, float]:
        """See `Ranker`."""
        head = list(islice(chances, HEAD))
        if not head or not self._weight:
            return chances
        known = _clicked(chances)
        unknown = [query for query in head if query not in known]
        if unknown:
            known = {**known, **dict(zip(unknown, self._clicks.score(context, unknown).tolist(), strict=True))}
        searched = np.array([chances[query] for query in head])
        clicked = np.array([known[query] for query in head])
        worth = np.log(np.maximum(searched, _LEAST)) + self._weight * np.log(np.maximum(clicked, _LEAST))
        order = [head[place] for place in np.argsort(-worth, kind="stable")]
        return {query: chances[query] for query in (*order, *islice(chances, HEAD, None))}


def _clicked(chances: Mapping[str, float]) -> Mapping[str, float]:
    return chances.clicked if isinstance(chances, _Chances) else {}
