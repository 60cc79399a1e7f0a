"""Embeddings of whole queries: their words, and a part of their own."""

import torch

from workers.training.composed import Composition

COMPOSITION = Composition({3: [0, 1], 4: [2], 5: [0, 0, 1, 2]})


def test_a_new_query_is_its_words() -> None:
    """Before anything is learned of it: the sum, at the norm of one word."""
    own = torch.randn(6, 8, generator=torch.Generator().manual_seed(1))
    words = own[:3].clone()
    COMPOSITION.begin(own)
    table = COMPOSITION.compose(own)
    assert torch.equal(table[:3], words)
    torch.testing.assert_close(table[3], (words[0] + words[1]) / 2**0.5)
    torch.testing.assert_close(table[4], words[2])
    torch.testing.assert_close(table[5], (2 * words[0] + words[1] + words[2]) / 2)


def test_part_undoes_compose() -> None:
    """So that a saved table can be trained on."""
    own = torch.randn(6, 8, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(COMPOSITION.part(COMPOSITION.compose(own)), own)


def test_what_is_learned_of_a_query_is_learned_of_its_words() -> None:
    """The gradient of a query's row reaches its words, once for each time a word is in it, and itself."""
    own = torch.zeros(6, 1, requires_grad=True)
    COMPOSITION.compose(own)[5].sum().backward()
    assert own.grad is not None
    torch.testing.assert_close(own.grad.flatten(), torch.tensor([1.0, 0.5, 0.5, 0.0, 0.0, 1.0]))


def test_nothing_composed_changes_nothing() -> None:
    """A tokenizer without phrases."""
    own = torch.randn(3, 2)
    assert torch.equal(Composition({}).compose(own), own)
