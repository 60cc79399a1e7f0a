"""The model card: which data and recipe made a checkpoint, and how it did."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workers.training.recipe import BaseRecipe, Recipe

_TEXT = """---
{front}
pipeline_tag: text-generation
---
# {name}

Search hints for shoppers of the sample shop: {method}, {what}.
{parameters:.2f} M parameters. Two tasks, told apart by the first token of the prompt (`workers/common/prompt.py`):
`<u2q>` (what a shopper did -> what they search next) and
`<x2q>` (an item or category -> what it leads to). It answers with one query a line.

It knows the sample shop and nothing else: for another shop, train another.

{serving}
## Data
{data}

Only the part `train` of the shoppers was trained on, and not the last sixth of the period
(`workers/common/split.py`).
A query searched by fewer than {minimum} shoppers never became a label.

## Recipe
`aigq train {command} --data DIR --recipe {recipe} --out models/{name}`, started from {started_from}.

```json
{recipe_json}
```

## Figures
{figures}
"""

_ADAPTED = """
Only the adapter is here, with the embeddings of the prompt's own tokens and the tokenizer. To serve it:
`aigq train merge --adapter models/{name} --out models/{name}-merged`.
"""
_METHODS = {"sft": "list-level fine-tuning (IL-SFT)", "grpo": "list-level policy optimisation (IL-GRPO)"}


def write(
    model: Path,
    recipe: Recipe,
    manifest: Mapping[str, Any],
    figures: Mapping[str, float],
    started_from: str,
    command: str = "sft",
) -> None:
    """Write `README.md` into the model directory; `command` of `aigq train` made it."""
    text = _TEXT.format(
        name=model.name,
        command=command,
        method=_METHODS[command],
        front=_front(recipe),
        what=_what(recipe),
        serving=_ADAPTED.format(name=model.name) if recipe.lora else "",
        parameters=figures["parameters"] / 1e6,
        data="\n".join(f"- {key}: {value}" for key, value in manifest.items()),
        minimum=recipe.data.min_shoppers,
        recipe=recipe.name,
        started_from=started_from,
        recipe_json=json.dumps(recipe.model_dump(), indent=2),
        figures="\n".join(f"- {key}: {value:g}" for key, value in figures.items()),
    )
    (model / "README.md").write_text(text, encoding="utf-8")


def _front(recipe: Recipe) -> str:
    """Return what a hub reads: the licence of what is ours alone, else the base, whose licence counts too."""
    if not isinstance(recipe.model, BaseRecipe):
        return "license: apache-2.0\nlibrary_name: transformers"
    return f"base_model: {recipe.model.base}\nlibrary_name: {'peft' if recipe.lora else 'transformers'}"


def _what(recipe: Recipe) -> str:
    if isinstance(recipe.model, BaseRecipe):
        how = f"a LoRA adapter of rank {recipe.lora.rank} on" if recipe.lora else "trained whole from"
        return f"{how} `{recipe.model.base}`, its tokenizer with the prompt's own tokens"
    entries = recipe.tokenizer.vocabulary if recipe.tokenizer else 0
    return f"Qwen3 architecture, own byte-level BPE tokenizer of {entries} entries"
