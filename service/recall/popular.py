"""Popular queries by segment, from the in-process snapshot: the source that never fails."""

from collections.abc import Mapping

from service.ranking.catalogue import EVERYONE, Catalogue
from service.ranking.merge import WEIGHT_POPULAR, Candidate


def recall(catalogue: Catalogue, profile: Mapping[str, str], limit: int) -> list[Candidate]:
    """Return up to `limit` queries popular in the shopper's segment, or with everyone."""
    queries = catalogue.popular.get(profile.get("segment", EVERYONE)) or catalogue.popular[EVERYONE]
    return [Candidate(q.query, "popular", WEIGHT_POPULAR * q.score) for q in queries[:limit]]
