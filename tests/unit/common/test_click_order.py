"""Lists that lean towards clicks."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.contracts.codecs import BehaviourEntry
from service.contracts.errors import ArtefactError
from service.ranking.ctr import CtrScorer
from service.ranking.query_stats import QueryStats
from service.ranking.shopper_context import ShopperContext
from workers.common.click_order import HEAD, ClickAware, Describer, open_click_aware, open_scorer
from workers.common.ranked_list import open_ranker

_NOBODY = ShopperContext(0.0, [], {}, {})
_CHANCES = {"tent": 0.4, "lamp": 0.2, "rope": 0.1}


class _Searches(Describer):
    """Finds the same for everybody; a feature is the number of a query's letters."""

    def chances(self, context: ShopperContext, generated: Sequence[str] = ()) -> dict[str, float]:
        """Return `_CHANCES` and what was generated."""
        del context
        return {**_CHANCES, **dict.fromkeys(generated, 0.01)}

    def described(
        self, context: ShopperContext, generated: Sequence[str], found: Mapping[str, float]
    ) -> tuple[dict[str, float], list[str], NDArray[np.float32]]:
        """See `Describer`."""
        chances = self.chances(context, generated)
        new = [query for query in chances if query not in found]
        return chances, new, np.array([[len(query)] for query in new], dtype=np.float32).reshape(-1, 1)

    def shortlist(self, context: ShopperContext, ranked: Sequence[str], limit: int) -> list[str]:  # type: ignore[override]
        """Return the first ones."""
        del context
        return list(ranked)[:limit]


class _Clicks:
    """Knows how likely a click is."""

    def __init__(self, chances: Mapping[str, float]) -> None:
        self._chances = chances
        self.asked: list[list[str]] = []

    def score(self, context: ShopperContext, queries: Sequence[str]) -> NDArray[np.float32]:
        """See `CtrScorer.score`."""
        del context
        self.asked.append(list(queries))
        return np.array([self._chances.get(query, 0.05) for query in queries], dtype=np.float32)

    def score_features(self, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `CtrScorer.score_features`."""
        self.asked.append(matrix[:, 0].tolist())
        return matrix[:, 0] / 10


def _order(weight: float, clicks: Mapping[str, float], chances: Mapping[str, float] = _CHANCES) -> list[str]:
    return list(ClickAware(_Searches(), _Clicks(clicks), weight).ordered(_NOBODY, chances))


def test_both_chances_count() -> None:
    """Half as likely to be searched and nine times as likely to be clicked goes first, from a certain weight on."""
    clicks = {"tent": 0.01, "lamp": 0.09, "rope": 0.01}
    assert _order(0.0, clicks) == ["tent", "lamp", "rope"]
    assert _order(0.1, clicks) == ["tent", "lamp", "rope"]
    assert _order(0.5, clicks) == ["lamp", "tent", "rope"]


def test_only_lists_lean() -> None:
    """What prompts tell, and what is found, is as the model was taught."""
    ranker = ClickAware(_Searches(), _Clicks({"rope": 0.9}), 10.0)
    assert ranker.chances(_NOBODY, ["soap"]) == ranker.chances_with(_NOBODY, ["soap"], _CHANCES)
    assert ranker.shortlist(_NOBODY, ["tent", "rope"], 1) == ["tent"]
    assert next(iter(ranker.ordered(_NOBODY, _CHANCES))) == "rope"
    assert ranker.ordered(_NOBODY, {}) == {}


def test_features_are_computed_once() -> None:
    """Where both rankers know the same of queries, clicks are told by the features that searches were ranked by."""
    clicks = _Clicks({})
    ranker = ClickAware(_Searches(), clicks, 10.0, alike=True)
    found = ranker.chances(_NOBODY)
    more = ranker.chances_with(_NOBODY, ["duffel"], found)
    assert clicks.asked == [[4, 4, 4], [6]]
    assert list(ranker.ordered(_NOBODY, found)) == ["tent", "lamp", "rope"]
    assert list(ranker.ordered(_NOBODY, more)) == ["duffel", "tent", "lamp", "rope"]
    assert len(clicks.asked) == 2
    assert list(ranker.ordered(_NOBODY, dict(more))), "chances of elsewhere are told by the queries themselves"
    assert clicks.asked[2:] == [["tent", "lamp", "rope", "duffel"]]


_SHIPPED = Path("models/aigq-mini-ranker"), Path("models/aigq-mini-ctr")


def test_shared_features_change_no_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shipped rankers know the same of queries; a list is the same if each describes them for itself."""
    one = open_click_aware(*_SHIPPED, 0.5)
    other = ClickAware(one.searches, open_scorer(_SHIPPED[1]), 0.5)
    behaviour = [BehaviourEntry("search", 100.0, "dog food"), BehaviourEntry("search", 50.0, "wireless earbuds")]
    context = ShopperContext(200.0, behaviour, {"locale": "en-US"}, {})
    lists = []
    for ranker in (other, one):
        chances = ranker.chances_with(context, ["purple dog food bowl"], ranker.chances(context))
        lists.append(list(ranker.ordered(context, chances).items()))
        monkeypatch.delattr(CtrScorer, "score", raising=False)  # the second one has no need of it
    assert len(lists[0]) > HEAD
    assert lists[0] == lists[1]


def test_rankers_that_know_other_things_share_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Features are by what is known of queries, so each describes them for itself."""
    versions = iter([b"one", b"another"])
    monkeypatch.setattr(QueryStats, "dump", lambda _: next(versions))
    ranker = open_click_aware(*_SHIPPED, 0.5)
    monkeypatch.delattr(CtrScorer, "score_features")
    assert ranker.chances(ShopperContext(60.0, [BehaviourEntry("search", 0.0, "dog food")]))


@given(st.dictionaries(st.text(max_size=3), st.floats(0, 1), max_size=2 * HEAD), st.floats(0, 10))
def test_nothing_is_lost(chances: dict[str, float], weight: float) -> None:
    """Every candidate stays, with its chance; those behind the head keep their places; 0 and 1 are chances too."""
    clicks = {query: 1.0 - chance for query, chance in chances.items()}
    found = ClickAware(_Searches(), _Clicks(clicks), weight).ordered(_NOBODY, chances)
    assert dict(found) == chances
    assert list(found)[HEAD:] == list(chances)[HEAD:]


def test_a_worker_that_ranks_loads_no_data_libraries() -> None:
    """They are of another extra, and cost a worker its start and memory."""
    code = (
        "import sys; from pathlib import Path; from workers.common.ranked_list import open_ranker;"
        "open_ranker(Path('models/aigq-mini-ranker'), Path('models/aigq-mini-ctr'));"
        "sys.exit(str({'polars', 'workers.common.dataset'} & sys.modules.keys() or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


def test_a_missing_ctr_ranker_is_named(tmp_path: Path) -> None:
    """So is how to make one."""
    with pytest.raises(ArtefactError, match="aigq train ctr"):
        open_ranker(_SHIPPED[0], tmp_path)
    assert isinstance(open_ranker(*_SHIPPED), ClickAware)
