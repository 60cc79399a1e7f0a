"""What the workers ask of a language model: prompts in, texts out, in the same order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Generation:
    """One completion. `truncated` means that the token cap cut it, so its last line may be half a query.

    `shortened`: the model was not told all of the prompt, whose oldest actions did not fit into its window.
    """

    text: str
    tokens: int
    truncated: bool
    shortened: bool = False


class Generator(Protocol):
    """A model behind whatever transport."""

    async def generate(self, prompts: Sequence[str]) -> list[Generation | None]:
        """Return one generation a prompt, None for a prompt that the model cannot take, however shortened.

        Raises:
            GeneratorUnavailable: nothing was generated; try again later.
        """
        ...

    async def check(self) -> None:
        """Make sure that the expected model answers.

        Raises:
            GeneratorUnavailable: no answer.
            WrongModel: another model answers.
        """
        ...

    async def waiting(self) -> int:
        """Return how many prompts wait at the model, anybody's; 0 if that cannot be told."""
        ...
