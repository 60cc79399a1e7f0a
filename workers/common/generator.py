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


@dataclass(frozen=True, slots=True)
class Load:
    """What a model server has to do, anybody's: prompts that it generates, that wait; what its KV cache holds.

    `cache` is the share in use, of the fullest engine. All are 0 where that cannot be told.
    """

    running: int = 0
    waiting: int = 0
    cache: float = 0.0


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

    async def load(self) -> Load:
        """Return how busy the model is."""
        ...
