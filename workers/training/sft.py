"""Stage 4, IL-SFT: list-level fine-tuning. Loss = the negative log-likelihood of what a sample says is learned.

That is the whole list given the prompt, and in the language-model stage before it, the queries of a history. Saved
checkpoints are resumed after a kill; the finished model appears at its place in one rename, so serving never sees a
half-written one.
"""

import hashlib
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from datasets import Dataset
from transformers import PreTrainedTokenizerFast
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from workers.common.prompt import CANDIDATES_KEY, HINTS, LINE_TOKEN_KEY, PLAIN_KEY, SEPARATOR
from workers.training import base, runs
from workers.training.composed import Composition
from workers.training.loss_log import LossLog, plot_loss
from workers.training.recipe import ModelRecipe, Recipe, StageRecipe
from workers.training.samples import Sample
from workers.training.scratch import new_model
from workers.training.tokenizer import openings, parts

ATTENTION = "sdpa" if torch.cuda.is_available() else "eager"
"""On a CPU the fused kernel's backward pass is the slower one for rows this short."""
_COMPILED_FROM = 500
"""Steps from which compiling, which takes a minute or two, pays."""
_IGNORED = -100
"""The label of tokens that are not learned (torch's default)."""


def tokenise(samples: Sequence[Sample], tokenizer: PreTrainedTokenizerFast, max_tokens: int) -> Dataset:
    """Return rows of `input_ids` and `completion_mask` (1 on what is learned), without those that are too long."""
    texts = [text for sample in samples for text, _ in sample.pieces]
    tokens = iter(tokenizer(texts, add_special_tokens=False)["input_ids"])
    rows: dict[str, list[list[int]]] = {"input_ids": [], "completion_mask": []}
    for sample in samples:
        ids: list[int] = []
        mask: list[int] = []
        for _, learned in sample.pieces:
            piece = next(tokens)
            ids += piece
            mask += [int(learned)] * len(piece)
        if sample.ends:
            ids.append(tokenizer.eos_token_id)
            mask.append(1)
        if len(ids) <= max_tokens and any(mask):
            rows["input_ids"].append(ids)
            rows["completion_mask"].append(mask)
    return Dataset.from_dict(rows)


class ListTrainer(SFTTrainer):
    """TRL's trainer with the loss computed at the completion's positions alone, but for a base on GPUs or many.

    TRL's own loss projects every prompt token to the vocabulary too where there is no Triton; on a CPU that is over
    half of a small model's step, and a third of SmolLM2-135M's.

    Small models learn late that a list does not repeat itself. So what begins an earlier line is made unlikely where
    another line begins (unlikelihood training, arXiv 1908.04319), with weight `repeat_weight`; `separators` are the
    ids of the tokens after which a line begins, `openings` of those that begin one by themselves.
    """

    repeat_weight = 0.0
    separators: tuple[int, ...] = ()
    openings: tuple[int, ...] = ()
    composition: Composition | None = None

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,  # noqa: FBT001  (the base class's signature)
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Return the mean negative log-likelihood of completion tokens; labels are (batch, tokens), -100 elsewhere."""
        alone = inputs["input_ids"].device.type == "cpu" and self.accelerator.num_processes == 1
        if self.composition is None and not alone:
            theirs: Any = super()  # without types
            return theirs.compute_loss(model, inputs, return_outputs, num_items_in_batch)
        labels = inputs["labels"][:, 1:]
        learned = labels != _IGNORED
        with self.accelerator.autocast():  # the model's own forward is bypassed, and with it accelerate's autocast
            logits = self._logits(model, inputs["input_ids"], learned)
        total = torch.nn.functional.cross_entropy(logits.float(), labels[learned], reduction="sum")
        if self.repeat_weight:
            again = _said_again(logits, inputs["input_ids"], learned, self.separators, self.openings)
            total = total + self.repeat_weight * again
        loss = total / (num_items_in_batch if num_items_in_batch is not None else learned.sum())
        return (loss, {"logits": logits}) if return_outputs else loss

    def _logits(self, model: Any, ids: torch.Tensor, learned: torch.Tensor) -> torch.Tensor:
        """Return (learned tokens, vocabulary); ids (batch, tokens), learned (batch, tokens - 1): is the next learned.

        Rows are padded on the right and attention is causal: what is learned sees no padding, so there is no mask.
        """
        if self.composition is None:
            return base.scores_after(self.accelerator.unwrap_model(model), ids, learned)
        table = self.composition.compose(model.get_input_embeddings().weight)
        output = model.model(inputs_embeds=torch.nn.functional.embedding(ids, table))
        states = output.last_hidden_state[:, :-1]  # (batch, tokens - 1, width)
        return torch.nn.functional.linear(states[learned], table)


def _said_again(
    logits: torch.Tensor, ids: torch.Tensor, learned: torch.Tensor, separators: Sequence[int], openings: Sequence[int]
) -> torch.Tensor:
    """Return the sum over line beginnings of -log(1 - p(what begins an earlier line, and not this one)).

    logits (learned tokens, vocabulary); ids (batch, tokens); learned (batch, tokens - 1), whether the next is learned.
    """
    begins = torch.isin(ids[:, :-1], ids.new_tensor(separators)) | torch.isin(ids[:, 1:], ids.new_tensor(openings))
    begins &= learned
    places = (learned.flatten().cumsum(0) - 1).view_as(learned)
    where: list[int] = []
    index: list[int] = []
    tokens: list[int] = []
    for row in range(len(ids)):
        said: dict[int, None] = {}
        for at in begins[row].nonzero().flatten().tolist():
            target = int(ids[row, at + 1])
            others = [token for token in said if token != target]
            if others:
                index += [len(where)] * len(others)
                tokens += others
                where.append(int(places[row, at]))
            said[target] = None
    if not where:
        return logits.new_zeros((), dtype=torch.float32)
    chances = logits[where].float().softmax(-1)[index, tokens]
    again = chances.new_zeros(len(where)).index_add(0, torch.tensor(index, device=chances.device), chances)
    return -torch.log1p(-again.clamp(max=0.999)).sum()


def train(
    samples: Sequence[Sample],
    tokenizer: PreTrainedTokenizerFast,
    recipe: Recipe,
    stage: StageRecipe,
    out: Path,
    start: Path | None = None,
) -> dict[str, float]:
    """Train one stage and write the model to `out`; return figures.

    Work in progress in `<out>.work` is resumed; what was finished with the same recipe and samples is not done again.

    With `start`, training goes on from that checkpoint's weights instead of from scratch.

    Raises:
        ArtefactError: the disk has no room for it.
    """
    began = time.perf_counter()
    torch.manual_seed(recipe.seed)
    rows = tokenise(samples, tokenizer, recipe.model.max_tokens)
    work = runs.work_directory(out, [recipe.model_dump(), stage.model_dump(), _digest(samples), str(start)])
    if (done := runs.finished(work, out)) is not None:
        return done
    model, composition = _beginning(recipe, tokenizer, start)
    runs.check_space(out, model)
    model.set_attn_implementation(ATTENTION)
    steps = max(1, round(len(rows) * stage.epochs / (stage.batch_size * PartialState().num_processes)))
    if composition and steps >= _COMPILED_FROM and shutil.which("c++"):
        model.model.compile(dynamic=True)
    trainer = ListTrainer(
        model=model,
        args=_arguments(stage, steps, recipe.seed, work),
        train_dataset=rows,
        processing_class=tokenizer,
        callbacks=[LossLog(work / "loss.jsonl")],
    )
    if composition:
        trainer.repeat_weight, trainer.composition = stage.repeat_weight, composition.to(model.device)
    trainer.separators = tuple(tokenizer(SEPARATOR, add_special_tokens=False)["input_ids"])
    trainer.openings = openings(tokenizer)
    result = trainer.train(resume_from_checkpoint=runs.resumable(work))
    figures = {
        "samples": float(len(rows)),
        "too_long": float(len(samples) - len(rows)),
        "steps": float(steps),
        **base.sizes(model),
        "train_loss": round(float(result.training_loss), 4),
        "seconds": round(time.perf_counter() - began, 1),
    }
    if composition:
        table = model.get_input_embeddings().weight
        table.data = composition.compose(table.data)
    setattr(model.config, CANDIDATES_KEY, recipe.data.candidates)
    setattr(model.config, PLAIN_KEY, recipe.data.plain)
    setattr(model.config, LINE_TOKEN_KEY, composition is None)
    with runs.replacing(work, out, figures) as staging:
        if base.save(trainer, staging):
            tokenizer.save_pretrained(staging)
            plot_loss(work / "loss.jsonl", staging / "loss.png")
    return figures


def _beginning(
    recipe: Recipe, tokenizer: PreTrainedTokenizerFast, start: Path | None
) -> tuple[Any, Composition | None]:
    """Return the model to train and, of one that is from scratch, how its embeddings are composed."""
    model: Any
    if isinstance(recipe.model, ModelRecipe) and start is None:
        model = new_model(recipe.model, tokenizer)
    else:
        model = base.begin(recipe, tokenizer, start)
    if len(tokenizer) > model.config.vocab_size:
        _widen(model, tokenizer)
    if not isinstance(recipe.model, ModelRecipe):
        return model, None
    composition = Composition(parts(tokenizer))
    table = model.get_input_embeddings().weight
    if start:
        table.data = composition.part(table.data)
    else:
        composition.begin(table)
    return model, composition


def _arguments(stage: StageRecipe, steps: int, seed: int, work: Path) -> SFTConfig:
    return SFTConfig(
        output_dir=str(work),
        max_steps=steps,
        per_device_train_batch_size=stage.batch_size // stage.parts,
        gradient_accumulation_steps=stage.parts,
        learning_rate=stage.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=max(1, round(steps * stage.warmup_share)),
        weight_decay=stage.weight_decay,
        adam_beta2=0.98,
        max_grad_norm=1.0,
        bf16=True,
        use_cpu=not torch.cuda.is_available(),
        train_sampling_strategy="group_by_length",
        completion_only_loss=True,
        max_length=None,
        gradient_checkpointing=False,
        logging_steps=max(1, min(20, steps // 20)),
        save_strategy="steps",
        save_steps=max(1, steps // stage.checkpoints),
        save_total_limit=1,
        seed=seed,
        report_to="none",
        dataloader_num_workers=0,
        dataset_num_proc=None,
    )


def _widen(model: Any, tokenizer: PreTrainedTokenizerFast) -> None:
    """Give the model rows for tokens that its checkpoint has not; they begin as `<hints>`, which ends prompts too."""
    known = model.config.vocab_size
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    table = model.get_input_embeddings().weight
    table.data[known:] = table.data[tokenizer.convert_tokens_to_ids(HINTS)]


def _digest(samples: Sequence[Sample]) -> str:
    found = hashlib.blake2b(digest_size=16)
    for sample in samples:
        found.update(repr(sample).encode())
    return found.hexdigest()
