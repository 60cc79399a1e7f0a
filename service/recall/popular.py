"""Popular queries by context, from the in-process snapshot: the source that never fails."""

from collections.abc import Mapping

from service.ranking.candidates import from_popular
from service.ranking.catalogue import Catalogue
from service.ranking.merge import Proposal


def recall(catalogue: Catalogue, profile: Mapping[str, str], limit: int, now: float) -> list[Proposal]:
    """Return up to `limit` queries popular with shoppers of such a profile, at this time of day and year."""
    return from_popular(catalogue, profile, limit, now)
