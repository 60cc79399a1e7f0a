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


def open_scorer(folder: Path) -> CtrScorer:
    """Open the CTR ranker that orders lists or weighs sources.

    Raises:
        ArtefactError: it is missing or broken, or it is the one that judges.
    """
    scorer = CtrScorer.open(folder)
    if scorer.meta.part == "judge":
        raise ArtefactError(f"{folder}: judges what is shown, so it must not weigh it; train another: aigq train ctr")
    return scorer


class ClickAware(Ranker):
    """Finds and tells candidates as `searches` does, and orders lists by `searches` and `clicks` together."""

    def __init__(self, searches: Ranker, clicks: ClickScorer, weight: float) -> None:
        """`weight`: the power of the chance of a click; 0 leaves it out."""
        self.searches = searches
        self._clicks = clicks
        self._weight = weight

    def chances(self, context: ShopperContext, generated: Sequence[str] = ()) -> dict[str, float]:
        """See `Ranker`."""
        return self.searches.chances(context, generated)

    def chances_with(
        self, context: ShopperContext, generated: Sequence[str], found: Mapping[str, float]
    ) -> dict[str, float]:
        """See `Ranker`."""
        return self.searches.chances_with(context, generated, found)

    def shortlist(self, context: ShopperContext, ranked: Iterable[str], limit: int) -> list[str]:
        """See `Ranker`."""
        return self.searches.shortlist(context, ranked, limit)

    def ordered(self, context: ShopperContext, chances: Mapping[str, float]) -> Mapping[str, float]:
        """See `Ranker`."""
        head = list(islice(chances, HEAD))
        if not head or not self._weight:
            return chances
        searched = np.array([chances[query] for query in head])
        clicked = self._clicks.score(context, head).astype(np.float64)
        worth = np.log(np.maximum(searched, _LEAST)) + self._weight * np.log(np.maximum(clicked, _LEAST))
        order = [head[place] for place in np.argsort(-worth, kind="stable")]
        return {query: chances[query] for query in (*order, *islice(chances, HEAD, None))}
