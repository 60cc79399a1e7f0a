"""A training recipe: `configs/train/<name>.toml`. Importable without torch."""

import tomllib
from pathlib import Path
from typing import Literal, Self

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
    candidates: int = Field(default=0, ge=0, le=60, description="how many queries of retrieval a prompt tells")
    label_size: int = Field(default=10, ge=1, le=10, description="1 teaches the next query alone, for comparison")


class TokenizerRecipe(_Section):
    """Byte-level BPE."""

    vocabulary: int = Field(ge=300, le=200_000)
    queries: int = Field(default=0, ge=0, description="how many of the most searched queries are tokens of their own")


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


class RewardWeights(_Section):
    """What counts how much in a reward (`workers.training.rewards`)."""

    ctr: float = Field(default=0.25, ge=0, description="of the predicted chance of a click, over the usual one")
    expected: float = Field(
        default=1.0, ge=0, description="of being searched next as production expects, over its usual"
    )
    rouge: float = Field(default=0.25, ge=0, description="of the likeness to the label")
    found: float = Field(default=0.5, ge=0, description="of being one of the next searches, word for word")
    sequence: float = Field(default=0.5, ge=0, description="lambda: of the list's reward beside its queries'")


class GrpoRecipe(_Section):
    """IL-GRPO. A step is one optimiser step on `prompts` x `group` lists."""

    steps: int = Field(ge=1, description="optimiser steps")
    prompts: int = Field(ge=1, description="shoppers a step")
    group: int = Field(ge=2, description="lists drawn for each")
    iterations: int = Field(default=2, ge=1, description="steps on the same lists; clipping acts from the second on")
    learning_rate: float = Field(gt=0, lt=1, description="at its peak; it falls as a cosine")
    temperature: float = Field(default=1.0, gt=0, description="of the drawn lists")
    max_tokens: int = Field(default=80, ge=8, description="token cap of a drawn list")
    advantage: Literal["query", "list"] = Field(default="query", description="list: one a list, the ablation")
    epsilon_low: float = Field(default=0.2, gt=0, lt=1, description="clip range of falling chances")
    epsilon_high: float = Field(default=0.28, gt=0, lt=1, description="clip range of rising chances")
    adaptive_clip: bool = Field(default=True, description="wider clipping where the model is unsure")
    dynamic_entropy: bool = Field(default=True, description="an entropy bonus that grows while entropy is below target")
    entropy_target: float = Field(default=0.5, ge=0, description="nats a token")
    rewards: RewardWeights = RewardWeights()
    checkpoints: int = Field(default=4, ge=1, description="how many times to save")


class Recipe(_Section):
    """One file, one model."""

    name: str
    seed: int
    data: DataRecipe
    tokenizer: TokenizerRecipe
    model: ModelRecipe
    lm: StageRecipe
    sft: StageRecipe
    grpo: GrpoRecipe | None = None

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
