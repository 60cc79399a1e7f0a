"""Popular recall: by context, or with everyone, and made once an artefact."""

import pytest

from service.ranking import candidates
from service.ranking.catalogue import Catalogue
from service.recall import popular
from tests.support import candidates_of


def test_rows_are_made_once(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody knows says nothing, and no request makes rows anew."""
    everyones = popular.recall(catalogue, {}, 5, 0.0)
    assert [one.query for one in candidates_of(everyones)] == list(catalogue.popular.queries[:5])
    monkeypatch.setattr(candidates, "rows", None)
    assert popular.recall(catalogue, {"segment": "made up", "region": "\ud800"}, 5, 0.0) == everyones
