"""What shoppers call things like the latest items and queries, where logs say nothing of them: a look-up."""

from collections.abc import Sequence

from service.ranking.candidates import LiveTrigger, Written, from_text
from service.ranking.catalogue import Catalogue
from service.ranking.merge import Proposal


def recall(catalogue: Catalogue, triggers: Sequence[LiveTrigger], written: Written | None = None) -> list[Proposal]:
    """Return proposals for the latest triggers, best first a trigger."""
    return from_text(triggers, catalogue, written)
