"""Toy twins of the bases that recipes name, and how tests train them."""

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3MoeConfig,
)

from workers.training import base
from workers.training.occasions import Occasion
from workers.training.recipe import BaseRecipe, Recipe
from workers.training.rewards import Written
from workers.training.samples import Sample
from workers.training.tokenizer import learn_reasons

SIZES: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 16, "max_position_embeddings": 256,
}  # fmt: skip
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
# Tied embeddings or not, and spare rows for tokens or none, as the real ones have it.
TWINS: dict[str, Any] = {
    "smol": lambda size: LlamaConfig(vocab_size=size, tie_word_embeddings=True, **SIZES),
    "qwen3-0.6b": lambda size: Qwen3Config(vocab_size=size + 64, tie_word_embeddings=True, **SIZES),
    "qwen3-4b-lora": lambda size: Qwen3Config(vocab_size=size + 64, tie_word_embeddings=True, **SIZES),
    "qwen3-30b-a3b": lambda size: Qwen3MoeConfig(vocab_size=size + 64, tie_word_embeddings=False, **EXPERTS, **SIZES),
}
WORDS = ("tent", "stove", "lamp", "boots")
ROWS = [
    Sample.listed(f"<u2q><search>\n{WORDS[n % 4]}<1_day_ago><hints>", [WORDS[(n + 1) % 4], f"best {WORDS[n % 4]}"])
    for n in range(32)
]


def twin(name: str, folder: Path) -> Recipe:
    """Return the shipped recipe, a few steps long, whose base is a twin that is written to `folder`."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        [row.text for row in ROWS],
        trainers.BpeTrainer(
            vocab_size=300, initial_alphabet=alphabet, special_tokens=["<|im_end|>"], show_progress=False
        ),
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|im_end|>")  # noqa: S106
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = TWINS[name](len(tokenizer))
    config.eos_token_id = tokenizer.eos_token_id
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    recipe = Recipe.load(name)
    assert isinstance(recipe.model, BaseRecipe)
    assert recipe.grpo is not None
    short = {"epochs": 2.0, "batch_size": 8, "checkpoints": 2, "learning_rate": 1e-2}
    drawn = {"steps": 1, "prompts": 2, "group": 2, "max_tokens": 12, "checkpoints": 1, "vllm": "off"}
    return recipe.model_copy(
        update={
            "data": recipe.data.model_copy(update={"candidates": 7, "plain": True}),
            "model": recipe.model.model_copy(update={"base": str(folder)}),
            "sft": recipe.sft.model_copy(update=short),
            "grpo": recipe.grpo.model_copy(update=drawn),
        }
    )


def train(recipe: Recipe, out: Path, start: Path | None = None, *, reasons: bool = False) -> dict[str, float]:
    """Run list-level fine-tuning, with a token that asks for reasons or without."""
    from workers.training import sft  # noqa: PLC0415  (trl is slow to import, and warns)

    assert isinstance(recipe.model, BaseRecipe)
    tokenizer = base.tokenizer_of(recipe.model.base)
    if reasons:
        learn_reasons(tokenizer)
    return sft.train(ROWS, tokenizer, recipe, recipe.sft, out, start)


def losses(out: Path, key: str = "loss") -> dict[int, float]:
    """Return the logged loss, or another figure, by step."""
    log = out.with_name(f"{out.name}.work") / "loss.jsonl"
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return {line["step"]: line[key] for line in lines}


def scores(model: Any, tokenizer: Any) -> torch.Tensor:
    """Return a model's scores for a prompt, (tokens, vocabulary)."""
    ids = tokenizer(ROWS[0].text, return_tensors="pt", add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        found: torch.Tensor = model.eval()(input_ids=ids).logits[0]
    return found


class LikesVariety:
    """Being worth something is being another line than those before."""

    def rewards(self, occasion: Occasion, written: Written) -> tuple[list[float], float]:
        """See `Rewarder.rewards`."""
        lines = written.lines
        return [float(len(line) + (line not in lines[:n])) for n, line in enumerate(lines)], float(len(lines))
