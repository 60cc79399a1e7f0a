"""From a due shopper to a prompt, and from what the model wrote to the list that is stored."""

import base64
import hashlib
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import orjson

from service.contracts.codecs import QueryList, ScoredQuery
from service.contracts.settings import Settings
from service.ranking.catalogue import Catalogue
from service.ranking.merge import recent_searches
from service.ranking.shopper_context import ShopperContext
from workers.common.generator import Generation
from workers.common.list_parser import parse_list
from workers.common.prompt import without_candidates
from workers.common.ranked_list import Ranker, ranked_list
from workers.common.shopper_prompt import shopper_prompt
from workers.direct import metrics
from workers.direct.queue import DueShopper

_DIGEST_BYTES: Final = 6
_RECIPE: Final = 1
"""Raise it when the parser or the filter changes, so that lists are written anew."""


class ListMaker:
    """Knows the catalogue, the ranker and the settings that make a list; without a `ranker`, lists stay as written."""

    def __init__(self, catalogue: Catalogue, settings: Settings, ranker: Ranker | None = None) -> None:
        """Make lists by `catalogue` until `reload` finds a newer one."""
        self._catalogue = catalogue
        self._settings = settings
        self._ranker = ranker

    def reload(self) -> None:
        """Swap to the current artefact, if it is another one; one that cannot be read is let be."""
        self._catalogue = self._catalogue.renewed(self._settings.service.artefacts)

    def render(self, shopper: DueShopper) -> str:
        """Return the prompt."""
        candidates = self._settings.direct.candidates
        return shopper_prompt(
            shopper.behaviour, shopper.profile, self._catalogue, time.time(), self._ranker, candidates
        )

    def digest(self, prompt: str) -> str:
        """Return a short name of all that a list is made from: prompt, model, its settings, artefact, ranker.

        Two equal digests mean that as good a list would be written again, so it need not be. Ages are in the prompt as
        buckets, so a digest lasts until an action passes into the next one; candidates, whose order moves with every
        second, follow from the rest.
        """
        ranker = [str(self._settings.direct.ranker or ""), self._settings.direct.candidates]
        told = without_candidates(prompt)
        made_from = orjson.dumps([_RECIPE, told, *self._settings.vllm.recipe, self._catalogue.version, *ranker])
        return base64.urlsafe_b64encode(hashlib.blake2b(made_from, digest_size=_DIGEST_BYTES).digest()).decode("ascii")

    def unchanged(self, shopper: DueShopper, digest: str) -> QueryList | None:
        """Return the stored list as of now, if it was made from the same; else None."""
        if shopper.stored is None or shopper.stored.digest != digest:
            return None
        return replace(shopper.stored, seq=shopper.seq, generated_ms=round(time.time() * 1000))

    def make(self, shopper: DueShopper, generation: Generation, digest: str, drops: Counter[str]) -> QueryList:
        """Return the list to store; `drops` counts what was left out, by reason.

        A list may be empty: it says that the model had nothing new, and other sources fill up.
        """
        known = recent_searches([(entry.type, entry.ref) for entry in shopper.behaviour])
        queries = parse_list(generation, drops, self._catalogue.finds, known)
        if self._ranker is not None:
            queries = self._rank(self._ranker, shopper, queries, known)
        return QueryList(shopper.seq, round(time.time() * 1000), self._settings.vllm.model, queries, digest)

    def _rank(
        self, ranker: Ranker, shopper: DueShopper, written: Sequence[ScoredQuery], known: Sequence[str]
    ) -> tuple[ScoredQuery, ...]:
        items = self._catalogue.items([entry.ref for entry in shopper.behaviour])
        context = ShopperContext(time.time(), shopper.behaviour[::-1], shopper.profile, items)
        generated = [one.query for one in written]
        with metrics.RANKING_SECONDS.time():
            ranked = ranked_list(ranker.chances(context, generated), self._catalogue.finds, known)
        kept = sum(one.query in generated for one in ranked)
        metrics.RANKED.labels("generated").inc(kept)
        metrics.RANKED.labels("retrieved").inc(len(ranked) - kept)
        return ranked
