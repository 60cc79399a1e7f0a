"""A model from scratch, begun so that it can copy: attention moves what it looks at, as it is.

Small models learn late to write a query again that their prompt tells, since a head's values and outputs are random
maps that must first become each other's inverse. Begun as that (mimetic initialisation, arXiv 2305.09828, here only of
values and outputs), they copy after a hundred steps, not after thousands.
"""

from collections.abc import Callable
from typing import Any, Final

import torch
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from workers.training.recipe import ModelRecipe

_SHARE: Final = 0.5
"""Of what a head looks at that it adds to where it looks from."""


def new_model(recipe: ModelRecipe, tokenizer: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    """Return an untrained Qwen3 model of the recipe's size."""
    build: Callable[[Qwen3Config], Qwen3ForCausalLM] = Qwen3ForCausalLM  # its constructor has no types
    model = build(
        Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=recipe.hidden_size,
            intermediate_size=recipe.intermediate_size,
            num_hidden_layers=recipe.layers,
            num_attention_heads=recipe.heads,
            num_key_value_heads=recipe.kv_heads,
            head_dim=recipe.head_dim,
            max_position_embeddings=recipe.max_tokens,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    for layer in model.model.layers:
        _copying(layer.self_attn, recipe)
    return model


@torch.no_grad()
def _copying(attention: Any, recipe: ModelRecipe) -> None:
    """Let values be a rotation of the residual stream, or as much of one as the heads hold, and outputs its inverse."""
    width, size = recipe.hidden_size, recipe.head_dim
    rotation = torch.nn.init.orthogonal_(torch.empty(width, width))
    rows = recipe.kv_heads * size
    values = rotation.repeat(-(-rows // width), 1)[:rows]  # (key-value heads x size, width)
    group = recipe.heads // recipe.kv_heads
    heads = values.view(recipe.kv_heads, size, width).repeat_interleave(group, 0)  # (heads, size, width)
    attention.v_proj.weight.copy_(values)
    attention.o_proj.weight.copy_(heads.reshape(recipe.heads * size, width).T * (_SHARE / group))
