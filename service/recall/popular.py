"""Popular queries by segment, from the in-process snapshot: the source that never fails."""

from collections.abc import Mapping

from service.ranking.candidates import from_popular
from service.ranking.catalogue import Catalogue
from service.ranking.merge import Proposal


def recall(catalogue: Catalogue, profile: Mapping[str, str], limit: int) -> list[Proposal]:
    """Return up to `limit` queries popular in the shopper's segment, or with everyone."""
    return from_popular(catalogue, profile, limit)
