"""A model from scratch can copy from its first step."""

import pytest
import torch

from workers.training.recipe import ModelRecipe
from workers.training.scratch import new_model
from workers.training.tokenizer import train

TOKENIZER = train(["tent"], 300)


def _recipe(heads: int, kv_heads: int) -> ModelRecipe:
    return ModelRecipe(
        hidden_size=48, intermediate_size=32, layers=2, heads=heads, kv_heads=kv_heads, head_dim=16, max_tokens=64
    )


@pytest.mark.parametrize(("heads", "kv_heads", "held"), [(3, 3, 48), (6, 3, 48), (4, 2, 32), (4, 4, 48)])
def test_a_head_adds_half_of_what_it_looks_at(heads: int, kv_heads: int, held: int) -> None:
    """Values, then outputs, are half of the identity on as many directions as the heads hold, whatever the grouping."""
    torch.manual_seed(1)
    for layer in new_model(_recipe(heads, kv_heads), TOKENIZER).model.layers:
        values = layer.self_attn.v_proj.weight.view(kv_heads, 16, 48).repeat_interleave(heads // kv_heads, 0)
        moved = layer.self_attn.o_proj.weight @ values.reshape(heads * 16, 48)
        strengths = torch.linalg.eigvalsh((moved + moved.T) / 2)
        assert torch.allclose(moved, moved.T, atol=1e-5)
        assert int((strengths > 0.4).sum()) == held
        assert torch.allclose(strengths[-held:].min(), torch.tensor(0.5), atol=1e-4)
