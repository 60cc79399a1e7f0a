"""Known prompts, asked before a model is trusted with a cache: what cannot write a list writes garbage."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from service.contracts.errors import WrongModel
from service.ranking.catalogue import Catalogue
from workers.common.generator import Generation, Generator, Load
from workers.common.list_parser import parse_list
from workers.common.prompt import Action, render_u2q

PROMPTS: Final = 4
_SHOWN: Final = 200


Reads = Callable[[str, Generation, Counter[str]], object]
"""Takes a prompt, what was answered, and a counter of drops; what it returns is true if a query is usable."""


class Canary:
    """A `Generator` whose `check` also asks `prompts`, and reads the answers: one of them must hold a usable query."""

    def __init__(self, generator: Generator, prompts: Sequence[str], reads: Reads) -> None:
        """Ask `generator`."""
        self._generator = generator
        self._prompts = prompts
        self._reads = reads

    async def generate(self, prompts: Sequence[str]) -> list[Generation | None]:
        """See `Generator.generate`."""
        return await self._generator.generate(prompts)

    async def load(self) -> Load:
        """See `Generator.load`."""
        return await self._generator.load()

    async def check(self) -> None:
        """See `Generator.check`.

        Raises:
            GeneratorUnavailable: no answer.
            WrongModel: another model, or no answer to a known prompt holds a single query that may be shown.
        """
        await self._generator.check()
        drops: Counter[str] = Counter()
        answers = await self._generator.generate(self._prompts)
        for prompt, answer in zip(self._prompts, answers, strict=True):
            if answer is not None and self._reads(prompt, answer, drops):
                return
        said = next((answer.text for answer in answers if answer is not None), "nothing: it refuses the prompt")
        raise WrongModel(
            f"the model writes no query that may be shown to a known prompt (dropped: {dict(drops)}); "
            f"is it trained for AIGQ's prompts? It wrote {said[:_SHOWN]!r}"
        )


def lists(refuses: Callable[[str], str | None]) -> Reads:
    """Return what reads plain lists, of queries that `refuses` has no reason against (see `Catalogue.refuses`)."""
    return lambda _, answer, drops: parse_list(answer, drops, refuses)


def shopper_canary(generator: Generator, catalogue: Catalogue) -> Canary:
    """Return one that asks what a shopper's prompt would be after searching each of the most popular queries."""
    prompts = [render_u2q([Action("search", 0.0, query)], {}, 0.0) for query in catalogue.popular.queries[:PROMPTS]]
    return Canary(generator, prompts, lists(catalogue.refuses))
