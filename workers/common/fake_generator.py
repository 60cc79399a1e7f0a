"""A `Generator` for unit tests: answers by a function, and can be told to fail. Never what a demo shows."""

from collections.abc import Callable, Sequence

from service.contracts.errors import GeneratorError
from workers.common.generator import Generation, Load


class FakeGenerator:
    """Answers each prompt with `reply(prompt)`; raises `failures` first, one a call."""

    def __init__(self, reply: Callable[[str], str | None], failures: Sequence[GeneratorError] = ()) -> None:
        """Remember the prompts asked in `batches`."""
        self._reply = reply
        self._failures = list(failures)
        self.batches: list[list[str]] = []

    async def check(self) -> None:
        """Fail if told to."""
        self._fail()

    async def load(self) -> Load:
        """Never busy."""
        return Load()

    async def generate(self, prompts: Sequence[str]) -> list[Generation | None]:
        """See `Generator.generate`."""
        self._fail()
        self.batches.append(list(prompts))
        replies = [self._reply(prompt) for prompt in prompts]
        return [None if text is None else Generation(text, len(text.split()), truncated=False) for text in replies]

    def _fail(self) -> None:
        if self._failures:
            raise self._failures.pop(0)
