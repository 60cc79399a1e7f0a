"""From a due shopper to a prompt, and from what the model wrote to the list that is stored."""

import base64
import hashlib
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import orjson

from service.contracts.codecs import QueryList, ScoredQuery
from service.contracts.settings import Settings
from service.ranking.candidates import may_read_cjk, refusal
from service.ranking.catalogue import Catalogue
from service.ranking.merge import recent_searches
from service.ranking.shopper_context import ShopperContext
from workers.common.generator import Generation
from workers.common.list_parser import parse_list
from workers.common.prompt import with_candidates
from workers.common.ranked_list import Ranker, ranked_list
from workers.common.shopper_prompt import retrieved, shopper_context, shopper_prompt
from workers.direct import metrics
from workers.direct.queue import DueShopper

_DIGEST_BYTES: Final = 6
_RECIPE: Final = 2
"""Raise it when the parser or the filter changes, so that lists are written anew."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What is asked for a shopper of whom `context` is known.

    `chances`: what the ranker found for the prompt, likeliest first (see `Ranker`).
    """

    prompt: str
    digest: str
    context: ShopperContext
    chances: Mapping[str, float]


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

    def _digest(self, prompt: str) -> str:
        """Return a short name of all that a list is made from: prompt, model, settings, artefact, block list, ranker.

        Two equal digests mean that as good a list would be written again, so it need not be. Ages are in the prompt as
        buckets, so a digest lasts until an action passes into the next one; candidates, whose order moves with every
        second, follow from the rest and are not looked for.
        """
        shop = [self._catalogue.version, self._catalogue.blocked.digest]
        direct = self._settings.direct
        ranker = [str(direct.ranker or ""), direct.candidates, str(direct.ctr or ""), direct.ctr_weight]
        made_from = orjson.dumps([_RECIPE, prompt, *self._settings.vllm.recipe, *shop, *ranker])
        return base64.urlsafe_b64encode(hashlib.blake2b(made_from, digest_size=_DIGEST_BYTES).digest()).decode("ascii")

    def plan(self, shopper: DueShopper) -> Draft | QueryList:
        """Return what the model is asked for a shopper; the stored list as of now, if it was made from the same."""
        context = shopper_context(shopper.behaviour, shopper.profile, self._catalogue, time.time())
        prompt = shopper_prompt(context)
        digest = self._digest(prompt)
        if shopper.stored is not None and shopper.stored.digest == digest:
            return replace(shopper.stored, seq=shopper.seq, generated_ms=round(context.now * 1000))
        chances, told = retrieved(self._ranker, context, self._catalogue, self._settings.direct.candidates)
        return Draft(with_candidates(prompt, told), digest, context, chances)

    def read(self, shopper: DueShopper, generation: Generation, drops: Counter[str]) -> tuple[ScoredQuery, ...]:
        """Return what may be shown of what the model wrote; `drops` counts what was left out, by reason."""
        return parse_list(generation, drops, self._refuses(shopper), _known(shopper))

    def make(self, shopper: DueShopper, written: Sequence[ScoredQuery], draft: Draft) -> QueryList:
        """Return the list to store. Where nothing usable was `written`, the stored queries stay, if there are any.

        A list may be empty: it says that the model had nothing new, and other sources fill up.
        """
        now_ms, model = round(time.time() * 1000), self._settings.vllm.model
        if not written and shopper.stored is not None and shopper.stored.queries:
            # Of this model, which was asked: else a visit would have it asked again.
            return replace(shopper.stored, seq=shopper.seq, generated_ms=now_ms, model=model, digest=draft.digest)
        queries, retrieved = tuple(written), 0
        if self._ranker is not None:
            generated = [one.query for one in written]
            queries = self._rank(self._ranker, shopper, generated, draft)
            retrieved = sum(1 << at for at, one in enumerate(queries) if one.query not in generated)
            metrics.RANKED.labels("generated").inc(len(queries) - retrieved.bit_count())
            metrics.RANKED.labels("retrieved").inc(retrieved.bit_count())
        return QueryList(shopper.seq, now_ms, model, queries, draft.digest, retrieved)

    def _rank(
        self, ranker: Ranker, shopper: DueShopper, generated: Sequence[str], draft: Draft
    ) -> tuple[ScoredQuery, ...]:
        with metrics.RANKING_SECONDS.time():
            chances = draft.chances
            if not chances or any(query not in chances for query in generated):
                chances = ranker.chances_with(draft.context, generated, chances)
            ordered = ranker.ordered(draft.context, chances)
            return ranked_list(ordered, self._refuses(shopper), _known(shopper))

    def _refuses(self, shopper: DueShopper) -> Callable[[str], str | None]:
        """Return what says why a query is not shown to this shopper."""
        return refusal(self._catalogue, cjk=may_read_cjk(shopper.behaviour, shopper.profile))


def _known(shopper: DueShopper) -> list[str]:
    """Return what the shopper searched lately, which no list says again."""
    return recent_searches([(entry.type, entry.ref) for entry in shopper.behaviour])
