"""What others searched after the shopper's latest acts: looked up in the artefact, without store or model."""

from collections.abc import Sequence

from service.ranking.candidates import LiveTrigger, Written, from_co_click
from service.ranking.catalogue import Catalogue
from service.ranking.merge import Proposal


def recall(catalogue: Catalogue, triggers: Sequence[LiveTrigger], written: Written | None = None) -> list[Proposal]:
    """Return proposals for the latest triggers, best first."""
    return from_co_click(triggers, catalogue, written)
