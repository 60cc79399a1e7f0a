"""A training recipe: `configs/train/<name>.toml`. Importable without torch."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator

from service.contracts.errors import ConfigError


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataRecipe(_Section):
    """How logs become samples."""

    lm_passes: int = Field(
        ge=0, description="how often the histories are read before lists are learned; 0 leaves it out"
    )
    cuts_per_shopper: int = Field(ge=0, description="moments told of each; 0: triggers and lessons alone (Think)")
    label_window_days: float = Field(gt=0)
    min_shoppers: int = Field(ge=1, description="k-anonymity: rarer queries never become a label")
    history_dropout: float = Field(ge=0, lt=1)
    candidates: int = Field(default=0, ge=0, le=60, description="how many queries of retrieval a prompt tells")
    plain: bool = Field(
        default=False, description="tell shoppers in plain language: what compressed prompts are compared with"
    )
    max_samples: int | None = Field(
        default=None, ge=1, description="of more lists as many are drawn, so that a run fits its hours"
    )
    label_size: int = Field(default=10, ge=1, le=10, description="1 teaches the next query alone, for comparison")


class TokenizerRecipe(_Section):
    """Byte-level BPE, of a model from scratch."""

    vocabulary: int = Field(ge=300, le=200_000)
    queries: int = Field(default=0, ge=0, description="how many of the most searched queries are tokens of their own")


class ModelRecipe(_Section):
    """From scratch: Qwen3 architecture, tied embeddings."""

    hidden_size: int = Field(ge=16)
    intermediate_size: int = Field(ge=16)
    layers: int = Field(ge=1)
    heads: int = Field(ge=1)
    kv_heads: int = Field(ge=1)
    head_dim: int = Field(ge=16)
    max_tokens: int = Field(ge=64)


class BaseRecipe(_Section):
    """A pretrained model to go on from, with its own tokenizer."""

    base: str = Field(
        min_length=1,
        description="directory, hub id, or package:NAME of an installed one; /FILE.gguf after it if it is such a file",
    )
    max_tokens: int = Field(ge=64, description="longer samples are left out")


class LoraRecipe(_Section):
    """What is trained is an adapter (LoRA, arXiv 2106.09685), and the embeddings of the prompt's own tokens."""

    rank: int = Field(ge=1)
    alpha: int = Field(ge=1, description="the adapter's weight is alpha / rank")
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: list[str] = Field(min_length=1, description="names of the linear layers that are adapted")


def _in_parts(batch: int, parts: int) -> None:
    if batch % parts:
        raise ValueError(f"a batch of {batch} does not come in {parts} equal parts")


class StageRecipe(_Section):
    """Optimisation of one stage."""

    epochs: float = Field(gt=0)
    batch_size: int = Field(ge=1, description="samples a step and process")
    parts: int = Field(default=1, ge=1, description="a step's samples are read in so many parts, for less memory")
    learning_rate: float = Field(gt=0, lt=1)
    warmup_share: float = Field(ge=0, lt=1)
    weight_decay: float = Field(ge=0)
    repeat_weight: float = Field(
        default=0.0, ge=0, description="how much a line's beginning as an earlier line began is held against the model"
    )
    checkpoints: int = Field(ge=1, description="how many times to save; the last is resumed after a kill")

    @model_validator(mode="after")
    def _divides(self) -> Self:
        _in_parts(self.batch_size, self.parts)
        return self


class RewardWeights(_Section):
    """What counts how much in a reward (`workers.training.rewards`)."""

    ctr: float = Field(default=0.5, ge=0, description="of the predicted chance of a click, over the usual one")
    expected: float = Field(
        default=2.0, ge=0, description="of being searched next as production expects, over its usual"
    )
    rouge: float = Field(default=0.25, ge=0, description="of the likeness to the label")
    found: float = Field(default=1.0, ge=0, description="of being one of the next searches, word for word")
    sequence: float = Field(default=1.5, ge=0, description="lambda: of the list's reward beside its queries'")


class GrpoRecipe(_Section):
    """IL-GRPO. A step is one optimiser step on `prompts` x `group` lists."""

    steps: int = Field(ge=1, description="optimiser steps")
    prompts: int = Field(ge=1, description="shoppers a step")
    group: int = Field(ge=2, description="lists drawn for each")
    parts: int = Field(default=1, ge=1, description="a step's lists are learned in so many parts, for less memory")
    iterations: int = Field(default=2, ge=1, description="steps on the same lists; clipping acts from the second on")
    learning_rate: float = Field(gt=0, lt=1, description="at its peak; it falls as a cosine")
    temperature: float = Field(default=0.6, gt=0, description="of the drawn lists; served ones are greedy")
    max_tokens: int = Field(default=80, ge=8, description="token cap of a drawn list")
    max_tokens_reasoned: int = Field(default=192, ge=8, description="and where some are drawn with reasons")
    triggers: float = Field(default=0.0, ge=0, le=1, description="share of lists drawn for items and categories")
    vllm: Literal["off", "colocate", "server"] = Field(
        default="off", description="who draws lists: the model itself, vLLM beside it on its GPUs, or a server of TRL's"
    )
    vllm_server: str = Field(default="http://127.0.0.1:8000", description="URL of that server (trl vllm-serve)")
    advantage: Literal["query", "list"] = Field(default="query", description="list: one a list, the ablation")
    epsilon_low: float = Field(default=0.2, gt=0, lt=1, description="clip range of falling chances")
    epsilon_high: float = Field(default=0.28, gt=0, lt=1, description="clip range of rising chances")
    adaptive_clip: bool = Field(default=True, description="wider clipping where the model is unsure")
    dynamic_entropy: bool = Field(default=True, description="an entropy bonus that grows while entropy is below target")
    entropy_target: float = Field(default=0.5, ge=0, description="nats a token")
    rewards: RewardWeights = RewardWeights()
    checkpoints: int = Field(default=4, ge=1, description="how many times to save")

    @model_validator(mode="after")
    def _divides(self) -> Self:
        _in_parts(self.prompts * self.group, self.parts)
        return self


def _origin(model: Any) -> str:
    return "base" if "base" in (model if isinstance(model, dict) else type(model).model_fields) else "scratch"


class Recipe(_Section):
    """One file, one model: from scratch with a tokenizer of its own, or from a base."""

    name: str
    seed: int
    data: DataRecipe
    tokenizer: TokenizerRecipe | None = None
    model: Annotated[
        Annotated[ModelRecipe, Tag("scratch")] | Annotated[BaseRecipe, Tag("base")], Discriminator(_origin)
    ]
    lora: LoraRecipe | None = None
    lm: StageRecipe | None = None
    sft: StageRecipe
    grpo: GrpoRecipe | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if isinstance(self.model, BaseRecipe):
            if self.tokenizer is not None:
                raise ValueError(
                    "[tokenizer] (its vocabulary, and `queries` as tokens) is for models from scratch; "
                    "a base brings its own: leave the section out"
                )
            if any(stage is not None and stage.repeat_weight for stage in (self.lm, self.sft)):
                raise ValueError("repeat_weight is for models from scratch; leave it out")
        elif self.tokenizer is None:
            raise ValueError("a model from scratch needs a section [tokenizer]")
        elif self.lora is not None:
            raise ValueError("[lora] adapts a pretrained model: name one by `base` in [model]")
        if self.data.lm_passes and self.lm is None:
            raise ValueError("lm_passes reads histories first: add a section [lm], or set it to 0")
        return self

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
