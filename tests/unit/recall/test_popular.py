"""Popular recall: by segment, or with everyone, and made once an artefact."""

import pytest

from service.ranking import candidates
from service.ranking.catalogue import EVERYONE, Catalogue
from service.recall import popular
from tests.support import candidates_of


def test_rows_are_made_once(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment that nobody knows gets everyone's, and no request makes them anew."""
    everyones = popular.recall(catalogue, {}, 5)
    assert [one.query for one in candidates_of(everyones)] == [one.query for one in catalogue.popular[EVERYONE][:5]]
    monkeypatch.setattr(candidates, "rows", None)
    assert popular.recall(catalogue, {"segment": "made up"}, 5) == everyones
