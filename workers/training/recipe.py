"""A training recipe: `configs/train/<name>.toml`. Importable without torch."""

import tomllib
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.contracts.errors import ConfigError


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataRecipe(_Section):
    """How logs become samples."""

    lm_passes: int = Field(
        ge=0, description="how often the histories are read before lists are learned; 0 leaves it out"
    )
    cuts_per_shopper: int = Field(ge=1)
    label_window_days: float = Field(gt=0)
    min_shoppers: int = Field(ge=1, description="k-anonymity: rarer queries never become a label")
    history_dropout: float = Field(ge=0, lt=1)
    label_size: int = Field(default=10, ge=1, le=10, description="1 teaches the next query alone, for comparison")


class TokenizerRecipe(_Section):
    """Byte-level BPE."""

    vocabulary: int = Field(ge=300, le=200_000)


class ModelRecipe(_Section):
    """Qwen3 architecture, tied embeddings."""

    hidden_size: int = Field(ge=16)
    intermediate_size: int = Field(ge=16)
    layers: int = Field(ge=1)
    heads: int = Field(ge=1)
    kv_heads: int = Field(ge=1)
    head_dim: int = Field(ge=16)
    max_tokens: int = Field(ge=64)


class StageRecipe(_Section):
    """Optimisation of one stage."""

    epochs: float = Field(gt=0)
    batch_size: int = Field(ge=1)
    learning_rate: float = Field(gt=0, lt=1)
    warmup_share: float = Field(ge=0, lt=1)
    weight_decay: float = Field(ge=0)
    repeat_weight: float = Field(
        default=0.0, ge=0, description="how much a line's beginning as an earlier line began is held against the model"
    )
    checkpoints: int = Field(ge=1, description="how many times to save; the last is resumed after a kill")


class Recipe(_Section):
    """One file, one model."""

    name: str
    seed: int
    data: DataRecipe
    tokenizer: TokenizerRecipe
    model: ModelRecipe
    lm: StageRecipe
    sft: StageRecipe

    @classmethod
    def load(cls, name: str, folder: Path = Path("configs/train")) -> Self:
        """Return the recipe `name`.

        Raises:
            ConfigError: there is none of that name, or a key is wrong.
        """
        path = folder / f"{name}.toml"
        try:
            return cls.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
        except OSError:
            known = ", ".join(sorted(other.stem for other in folder.glob("*.toml")))
            raise ConfigError(f"{path}: there is no such recipe; known: {known}") from None
        except (tomllib.TOMLDecodeError, ValidationError) as error:
            raise ConfigError(f"{path}: {error}") from None
