"""What others searched after the shopper's latest acts: looked up in the artefact, without store or model."""

from collections.abc import Sequence

from service.contracts.codecs import BehaviourEntry
from service.ranking.candidates import CO_CLICK_TRIGGERS, from_co_click, live_triggers
from service.ranking.catalogue import Catalogue
from service.ranking.merge import Candidate


def recall(catalogue: Catalogue, behaviour: Sequence[BehaviourEntry]) -> list[Candidate]:
    """Return candidates for the latest acts, best first."""
    return from_co_click(live_triggers(behaviour, catalogue, CO_CLICK_TRIGGERS), catalogue)
