"""The recipes that start from a base, each run as it is on a toy twin: the base's architecture with random weights."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate.commands.config.config_args import load_config_from_file
from safetensors import safe_open
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedTokenizerFast,
)
from typer.testing import CliRunner

from service.contracts.errors import ArtefactError, ConfigError
from service.ranking.shopper_context import ShopperContext
from tests.unit.training.twins import ROWS, TWINS, LikesVariety, losses, scores, train, twin
from workers.common.prompt import PROMPT_TOKENS, REASONS, SEPARATOR
from workers.common.ranked_list import candidates_taught, penalties_of, plain_taught
from workers.training import base, card
from workers.training.commands import app
from workers.training.occasions import Occasion
from workers.training.recipe import BaseRecipe, Recipe
from workers.training.tokenizer import learn_reasons

pytestmark = pytest.mark.filterwarnings("ignore")  # torch, trl, peft and vllm deprecate among themselves


@pytest.mark.parametrize("name", TWINS)
def test_a_recipe_from_base_to_merged_model(name: str, tmp_path: Path) -> None:
    """Loss falls; what is written is small if it is an adapter, is merged exactly, and learns from rewards."""
    from workers.training import grpo  # noqa: PLC0415

    recipe, out = twin(name, tmp_path / "base"), tmp_path / "model"
    figures = train(recipe, out)
    measured = losses(out)
    assert measured[8] < measured[1] - 0.2
    assert train(recipe, out) == figures, "nothing was left to train"

    tokenizer = AutoTokenizer.from_pretrained(out)
    for token in (*PROMPT_TOKENS, SEPARATOR):
        assert len(tokenizer(token, add_special_tokens=False)["input_ids"]) == 1, token
    text = 'lamp 2"\n\nbest 帐篷'
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text

    assert base.is_adapter(out) == (recipe.lora is not None)
    whole = out
    if recipe.lora:
        with safe_open(out / "adapter_model.safetensors", "pt") as file:
            assert all("lora_" in key or "trainable_tokens" in key for key in file.keys())  # noqa: SIM118
            assert {file.get_tensor(key).dtype for key in file.keys()} == {torch.bfloat16}  # noqa: SIM118
        assert 0 < figures["trained_parameters"] < figures["parameters"]
        whole = tmp_path / "merged"
        done = CliRunner().invoke(app, ["merge", "--adapter", str(out), "--out", str(whole)])
        assert json.loads(done.stdout)["model"] == str(whole), done.output
        adapted = base.begin(recipe, tokenizer, out).float()
        served = AutoModelForCausalLM.from_pretrained(whole, dtype=torch.float32)
        assert torch.allclose(scores(served, tokenizer), scores(adapted, tokenizer), atol=0.05, rtol=0.05)
    config = json.loads((whole / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == [json.loads((tmp_path / "base" / "config.json").read_text())["architectures"][0]]
    assert "quantization_config" not in config
    assert (candidates_taught(whole), plain_taught(whole)) == (7, True)
    assert penalties_of(whole) == {"presence_penalty": 0.0, "frequency_penalty": 0.0}, "its lines end in a token"

    card.write(out, recipe, {"source": "test"}, figures, "base")
    told = (out / "README.md").read_text(encoding="utf-8")
    assert ("aigq train merge" in told) == (recipe.lora is not None)
    assert f"base_model: {tmp_path / 'base'}" in told

    occasions = [Occasion(row.pieces[0][0], ["tent"], ["tent"], ShopperContext(0.0)) for row in ROWS[:4]]
    assert recipe.grpo is not None
    drawn = grpo.train(occasions, LikesVariety(), recipe, recipe.grpo, out, tmp_path / "rewarded")
    assert drawn["lists"] == 4
    assert base.is_adapter(tmp_path / "rewarded") == (recipe.lora is not None)
    if recipe.lora:
        base.merge(tmp_path / "rewarded", tmp_path / "rewarded")
    told = (candidates_taught(tmp_path / "rewarded"), plain_taught(tmp_path / "rewarded"))
    assert told == (7, True), "what the start was taught, not what a recipe says"


def test_parts_of_a_batch_teach_the_same(tmp_path: Path) -> None:
    """Less memory, the same loss at each step, as far as 16 bits go."""
    recipe = twin("smol", tmp_path / "base")
    measured = []
    for parts in (1, 4):
        stage = recipe.sft.model_copy(update={"parts": parts})
        train(recipe.model_copy(update={"sft": stage}), tmp_path / f"in-{parts}")
        measured.append(losses(tmp_path / f"in-{parts}"))
    assert measured[1] == pytest.approx(measured[0], abs=0.05)


def test_parts_of_a_step_reward_the_same(tmp_path: Path) -> None:
    """The lists of a step, learned in parts, give the gradient that they give at once, as far as 16 bits go."""
    from workers.training import grpo  # noqa: PLC0415

    recipe, start = twin("smol", tmp_path / "base"), tmp_path / "start"
    assert recipe.grpo is not None
    train(recipe, start)
    occasions = [Occasion(row.pieces[0][0], ["tent"], ["tent"], ShopperContext(0.0)) for row in ROWS[:2]]
    measured = []
    for parts in (1, 4):
        stage, out = recipe.grpo.model_copy(update={"parts": parts}), tmp_path / f"in-{parts}"
        grpo.train(occasions, LikesVariety(), recipe, stage, start, out)
        measured.append((losses(out, "reward")[1], losses(out, "grad_norm")[1]))
    assert measured[1] == pytest.approx(measured[0], rel=0.05)
    assert measured[0][1] > 0


@pytest.mark.parametrize("name", TWINS)
def test_a_base_learns_by_the_loss_of_the_library(name: str, tmp_path: Path) -> None:
    """Projecting the completion alone to the vocabulary is TRL's loss, as far as 16 bits go."""
    from workers.training import sft  # noqa: PLC0415

    recipe = twin(name, tmp_path / "base")
    train(recipe, tmp_path / "ours")
    with pytest.MonkeyPatch.context() as patched:
        patched.delattr(sft.ListTrainer, "compute_loss")
        train(recipe, tmp_path / "theirs")
    theirs = losses(tmp_path / "theirs")
    assert theirs == pytest.approx(losses(tmp_path / "ours"), abs=0.05)
    assert theirs[8] < theirs[1] - 0.2


def test_a_killed_adapter_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From its last checkpoint, which holds the adapter alone, to what an unbroken run gives."""
    from workers.training import sft  # noqa: PLC0415

    recipe, out = twin("smol", tmp_path / "base"), tmp_path / "model"
    train(recipe, tmp_path / "unbroken")

    class Killed(sft.LossLog):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == 6:
                raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(sft, "LossLog", Killed)
        with pytest.raises(KeyboardInterrupt):
            train(recipe, out)
    assert not out.exists()
    (checkpoint,) = out.with_name("model.work").glob("checkpoint-*")
    assert checkpoint.name == "checkpoint-4"
    assert not (checkpoint / "model.safetensors").exists()
    train(recipe, out)
    assert losses(out)[8] == pytest.approx(losses(tmp_path / "unbroken")[8], rel=1e-3)


def test_an_adapter_is_gone_on_with(tmp_path: Path) -> None:
    """A stage that starts from an adapter trains that adapter, on the base that it names."""
    recipe = twin("qwen3-30b-a3b", tmp_path / "base")
    train(recipe, tmp_path / "first")
    train(recipe, tmp_path / "second", tmp_path / "first")
    assert losses(tmp_path / "second")[1] < losses(tmp_path / "first")[1] - 0.2
    config = json.loads((tmp_path / "second" / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["base_model_name_or_path"] == str(tmp_path / "base")


@pytest.mark.parametrize("name", ["smol", "qwen3-30b-a3b"])
def test_vllm_gets_the_names_and_weights_of_the_merged_model(name: str, tmp_path: Path) -> None:
    """What TRL would send of an adapted model, under the names that a model without adapter has."""
    from trl.generation.vllm_generation import VLLMGeneration  # noqa: PLC0415

    from workers.training.grpo import as_vllm_names  # noqa: PLC0415

    recipe, out = twin(name, tmp_path / "base"), tmp_path / "model"
    train(recipe, out)
    base.merge(out, tmp_path / "merged")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(out)
    sender = object.__new__(VLLMGeneration)
    sender.model = base.begin(recipe, tokenizer, out)
    sender._dist = SimpleNamespace(gather_params=lambda _: torch.no_grad(), is_fsdp=False)
    sent = {key: weight.float().clone() for key, weight in as_vllm_names(sender._iter_named_params())}
    served = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32)
    wanted = dict(served.named_parameters())
    assert sent.keys() == wanted.keys()
    for key, weight in sent.items():
        assert torch.allclose(weight, wanted[key], atol=0.02), key


@pytest.mark.parametrize("name", TWINS)
def test_trl_is_told_who_draws_lists(name: str, tmp_path: Path) -> None:
    """A recipe's `vllm` reaches TRL's configuration."""
    from workers.training.grpo_arguments import arguments  # noqa: PLC0415

    stage = Recipe.load(name).grpo
    assert stage is not None
    found = arguments(stage, 7, tmp_path)
    assert found.use_vllm == (stage.vllm != "off")
    assert found.max_completion_length == stage.max_tokens
    assert arguments(stage, 7, tmp_path, reasoned=True).max_completion_length == stage.max_tokens_reasoned
    if found.use_vllm:
        assert found.vllm_mode == stage.vllm
        assert found.vllm_server_base_url == (stage.vllm_server if stage.vllm == "server" else None)


def test_accelerate_reads_its_settings() -> None:
    """The settings for several GPUs parse, and spread the model's weights whole layers at a time."""
    config: Any = load_config_from_file("configs/train/fsdp.yaml")
    assert (str(config.distributed_type), config.mixed_precision) == ("DistributedType.FSDP", "bf16")
    assert config.fsdp_config["fsdp_version"] == 2
    assert config.fsdp_config["fsdp_auto_wrap_policy"] == "TRANSFORMER_BASED_WRAP"


@pytest.mark.parametrize("name", ["smol", "qwen3-0.6b"])
def test_reasons_have_a_token_that_is_learned(name: str, tmp_path: Path) -> None:
    """It begins as its word, is trained beside an adapter, and can be given later to a whole model alone."""
    recipe, out = twin(name, tmp_path / "base"), tmp_path / "model"
    assert isinstance(recipe.model, BaseRecipe)
    tokenizer = base.tokenizer_of(recipe.model.base)
    learn_reasons(tokenizer)
    asked: Any = tokenizer.convert_tokens_to_ids(REASONS)
    begun = base.model_of(recipe.model.base, tokenizer, torch.float32).get_input_embeddings().weight
    word = tokenizer("reasons", add_special_tokens=False)["input_ids"]
    assert torch.allclose(begun[asked], begun[word].mean(0))
    train(recipe, out, reasons=True)
    if recipe.lora:
        indices = json.loads((out / "adapter_config.json").read_text())["trainable_token_indices"]
        assert asked in indices["embed_tokens"]
        base.merge(out, tmp_path / "merged")
        out = tmp_path / "merged"
    assert AutoModelForCausalLM.from_pretrained(out).config.vocab_size >= len(tokenizer) == asked + 1

    train(recipe, tmp_path / "without")
    if recipe.lora:
        with pytest.raises(ArtefactError, match="without: does not train <reasons>; begin from its base"):
            train(recipe, tmp_path / "with", tmp_path / "without", reasons=True)
    else:
        train(recipe, tmp_path / "with", tmp_path / "without", reasons=True)


def test_an_adapter_is_not_merged_for_vllm_while_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would fail after the first lists; it is told at once."""
    from workers.training.grpo_commands import grpo  # noqa: PLC0415

    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    nowhere = Path("nowhere")
    with pytest.raises(ConfigError, match=r"launch without fsdp.yaml"):
        grpo(data=nowhere, start=nowhere, ctr=nowhere, out=nowhere, recipe="qwen3-30b-a3b")
