"""A known prompt, asked before a worker trusts a model with the cache: what cannot write a list writes garbage."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from service.contracts.errors import WrongModel
from service.ranking.catalogue import Catalogue
from workers.common.generator import Generation, Generator
from workers.common.list_parser import parse_list
from workers.common.prompt import Action, render_u2q

PROMPTS: Final = 4
_SHOWN: Final = 200


class Canary:
    """A `Generator` whose `check` also asks for lists, for the catalogue's most popular queries, and reads them."""

    def __init__(self, generator: Generator, catalogue: Catalogue) -> None:
        """Ask `generator`; its lists must hold queries that find something in `catalogue`."""
        self._generator = generator
        self._catalogue = catalogue
        self._prompts = prompts(catalogue)

    async def generate(self, prompts: Sequence[str]) -> list[Generation | None]:
        """See `Generator.generate`."""
        return await self._generator.generate(prompts)

    async def waiting(self) -> int:
        """See `Generator.waiting`."""
        return await self._generator.waiting()

    async def check(self) -> None:
        """See `Generator.check`.

        Raises:
            GeneratorUnavailable: no answer.
            WrongModel: another model, or no answer to a known prompt holds a single query that may be shown.
        """
        await self._generator.check()
        drops: Counter[str] = Counter()
        answers = await self._generator.generate(self._prompts)
        for answer in answers:
            if answer is not None and parse_list(answer, drops, self._catalogue.refuses):
                return
        said = next((answer.text for answer in answers if answer is not None), "nothing: it refuses the prompt")
        raise WrongModel(
            f"the model writes no query that may be shown to a known prompt (dropped: {dict(drops)}); "
            f"is it trained for AIGQ's prompts? It wrote {said[:_SHOWN]!r}"
        )


def prompts(catalogue: Catalogue) -> list[str]:
    """Return what a shopper's prompt would be after searching each of the most popular queries."""
    return [render_u2q([Action("search", 0.0, query)], {}, 0.0) for query in catalogue.popular.queries[:PROMPTS]]
