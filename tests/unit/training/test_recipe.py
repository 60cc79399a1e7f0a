"""Recipes: every shipped one parses without torch, and a wrong one is named."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from service.contracts.errors import ConfigError
from workers.training.recipe import Recipe

BASE = {"base": "org/model", "max_tokens": 128}
LORA = {"rank": 4, "alpha": 4, "targets": ["q_proj"]}
RECIPES = sorted(Path("configs/train").glob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_parse(path: Path) -> None:
    """A file's name is its recipe's name."""
    assert Recipe.load(path.stem).name == path.stem


def test_recipes_parse_without_torch() -> None:
    """Whoever only looks at a recipe does not wait for torch."""
    code = "import sys; from workers.training.recipe import Recipe; Recipe.load('mini'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_unknown_recipe_is_named_with_the_known_ones() -> None:
    """The error lists what there is."""
    with pytest.raises(ConfigError, match=r"nonesuch.*mini"):
        Recipe.load("nonesuch")


def test_unknown_key_is_refused(tmp_path: Path) -> None:
    """A typo in a recipe must not train silently with a default."""
    text = Path("configs/train/mini.toml").read_text(encoding="utf-8").replace("[sft]", "[sft]\nepoch = 3")
    (tmp_path / "typo.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="epoch"):
        Recipe.load("typo", tmp_path)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"model": BASE}, r"`queries` as tokens\) is for models from scratch"),
        ({"model": BASE, "tokenizer": None}, "repeat_weight is for models from scratch"),
        ({"model": {**BASE, "layers": 2}, "tokenizer": None}, "layers"),
        ({"tokenizer": None}, r"from scratch needs a section \[tokenizer\]"),
        ({"lora": LORA}, "name one by `base`"),
        ({"lm": None}, r"add a section \[lm\]"),
        ({"sft": {**Recipe.load("mini").sft.model_dump(), "parts": 3}}, "a batch of 64 does not come in 3 equal parts"),
        ({"grpo": {"steps": 1, "prompts": 2, "group": 8, "learning_rate": 1e-4, "parts": 3}}, "16 does not come in 3"),
    ],
)
def test_sections_that_do_not_go_together_are_named(sections: dict[str, object], message: str) -> None:
    """What only a model from scratch has, or only a base, is refused with the other."""
    with pytest.raises(ValidationError, match=message):
        Recipe.model_validate({**Recipe.load("mini").model_dump(), **sections})
