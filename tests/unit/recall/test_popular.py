"""Popular recall: by context, or with everyone, and made once an artefact."""

import pytest

from service.ranking import candidates
from service.ranking.catalogue import Catalogue
from service.recall import popular


def test_candidates_are_made_once(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody knows says nothing, and no request makes candidates anew."""
    everyones = popular.recall(catalogue, {}, 5, 0.0)
    assert [one.query for one in everyones] == list(catalogue.popular.queries[:5])
    monkeypatch.setattr(candidates, "Candidate", None)
    assert popular.recall(catalogue, {"segment": "made up", "region": "\ud800"}, 5, 0.0) == everyones
