"""Embeddings of whole queries, composed while training: what the query's words say, plus what is the query's own.

A query that is one token would learn from its own occurrences alone, and "acme phone" nothing from "phone". So its
embedding is own + sum(embeddings of its words' tokens) / sqrt(number of them), as fastText composes words from pieces
(arXiv 1607.04606). Input and output embeddings are the same table. A saved checkpoint holds the composed table, so vLLM
serves it as any other.
"""

from collections.abc import Mapping, Sequence
from typing import Self

import torch


class Composition:
    """Which rows of an embedding table are composed of which others (and of a part of their own)."""

    def __init__(self, parts: Mapping[int, Sequence[int]]) -> None:
        """`parts`: row -> rows that it is composed of, none of which is itself composed."""
        pairs = [(row, part, len(some) ** -0.5) for row, some in parts.items() for part in some]
        self._rows = torch.tensor([row for row, _, _ in pairs], dtype=torch.long)
        self._parts = torch.tensor([part for _, part, _ in pairs], dtype=torch.long)
        self._weights = torch.tensor([weight for _, _, weight in pairs]).unsqueeze(-1)

    def to(self, device: torch.device) -> Self:
        """Move to `device`; return self."""
        self._rows, self._parts, self._weights = (one.to(device) for one in (self._rows, self._parts, self._weights))
        return self

    def compose(self, own: torch.Tensor) -> torch.Tensor:
        """Return the table (vocabulary, width) that is read, from what each row has of its own."""
        return own.index_add(0, self._rows, own[self._parts] * self._weights)

    @torch.no_grad()
    def begin(self, own: torch.Tensor) -> None:
        """Let composed rows of a new model begin as nothing but their words, in place."""
        own[self._rows] = 0.0

    @torch.no_grad()
    def part(self, table: torch.Tensor) -> torch.Tensor:
        """Return what each row has of its own: the inverse of `compose`."""
        return table.index_add(0, self._rows, -table[self._parts] * self._weights)
