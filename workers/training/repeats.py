"""IL-GRPO draws lists as they are served: no query twice.

A worker asks with penalties on what is written already (`vllm.presence_penalty`), so a served list of a model whose
queries are tokens has none twice. Drawn without, one line in twenty was a repetition, and the policy learned not to
repeat itself, which it is kept from anyway, in place of what to suggest (docs/experiments.md, 2026-11-27).
"""

from collections.abc import Collection
from typing import Final

import torch
from transformers import LogitsProcessor

_NEVER: Final = -1e4
"""A score with no chance; infinity would make entropies of it that are not numbers."""


class NoRepeats(LogitsProcessor):
    """Bars the tokens in `queries`, each a whole query, that a list has already: words may come again.

    A list begins after the last token `hints`. `padding` is barred always: what is barred is told by ids, and it fills
    them up.
    """

    def __init__(self, queries: Collection[int], hints: int, padding: int) -> None:
        self._queries = torch.tensor(sorted(queries), dtype=torch.long)
        self._hints, self._padding = hints, padding

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return `scores` (lists, vocabulary) of the token after `input_ids` (lists, tokens)."""
        return scores.scatter(-1, self._listed(input_ids), _NEVER)

    def bar(self, scores: torch.Tensor, input_ids: torch.Tensor, written: torch.Tensor) -> torch.Tensor:
        """Return `scores` (tokens written, vocabulary) as they were when each token was drawn.

        `written` (lists, n) is true on those of the last n `input_ids` that are no padding.
        """
        count = written.shape[1]
        listed = self._listed(input_ids)[:, -count:].unsqueeze(1).expand(-1, count, -1)
        later = torch.ones(count, count, dtype=torch.bool, device=listed.device).triu()
        return scores.scatter(-1, listed.masked_fill(later, self._padding)[written], _NEVER)

    def _listed(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Return the ids with all but a list's queries made padding."""
        hints = input_ids == self._hints
        in_list = (hints.flip(1).cumsum(1).flip(1) == 0) & hints.any(1, keepdim=True)
        query = torch.isin(input_ids, self._queries.to(input_ids.device))
        return input_ids.masked_fill(~(in_list & query), self._padding)
