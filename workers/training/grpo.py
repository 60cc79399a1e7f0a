"""Stage 5, IL-GRPO: list-level policy optimisation with a CTR reward, on TRL's `GRPOTrainer`.

What differs from the paper (arXiv 2603.19710, section 4; what it does not tell is marked *):
- Advantages are per query, z(query reward in the group) + lambda z(list reward in the group), laid on the query's
  tokens and averaged per query, then per list (`workers.training.advantages`), as in the paper.
- The separator belongs to the query that it begins (often one token together), the end of sequence to the last query.
- Prompts tell candidates of retrieval (docs/decisions.md), the same as those that the start was taught by.
- *Weights of the rewards, lambda, group size and clip range are ours, in the recipe.
- *Entropy-adaptive clipping: the clip range of a token is scaled by its entropy over the mean of the batch's written
  tokens, within [1/2, 2]: sure tokens move little, unsure ones may. Switch: `adaptive_clip`.
- *Dynamic entropy regularisation: TRL's controller (Skywork-OR1, arXiv 2505.22312), a bonus that grows while the
  entropy is below `entropy_target`. Switch: `dynamic_entropy`.
- *Lists are drawn nearly as they are served, which is greedy and without repetitions: at a low `temperature`, and no
  query twice where queries are tokens (`workers.training.repeats`).
- No KL term (beta 0): the reward's likeness to labels keeps the model near its start.
- No reward for a query's length: labels are as long as shoppers search, and likeness to them says so. How many of ten
  places are filled is part of the list's reward.
- A further reward, `found`: being one of the next three searches, word for word. Triggers have none, so there it is 0.
- Of the shopper's own queries four count; more are worth the floor, as what the parser drops: serving leaves out
  what was just searched, and a list must hold enough beside it.
- The CTR reward is relative to the ranker's usual chance and capped, so that one sure hit does not outweigh a list.
- A further reward is the chance, as production's ranker of next searches sees it (the labels' order), that a query is
  searched next (its root: a shopper's own queries are ten times as likely as new ones): a click model alone prefers
  what attracts a glance (docs/experiments.md).
- *Think goes through it as a share of the prompts (`triggers`). A rationale has no reward of its own: its tokens get
  lambda z(list reward), as one more part of the list; an answer that does not parse gets the floor.
- Groups without variation, or with a reward that is not a number, have advantage 0; their share is logged
  (`idle_groups`), they are not drawn again. So is the share of steps left out for a loss or a gradient that is not
  finite (`steps_skipped`).
- The weighting that makes queries equal is folded into advantages, so the entropy bonus stays a mean over tokens.
"""

import functools
import hashlib
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch.distributed.tensor import DTensor
from transformers import LogitsProcessorList, PreTrainedTokenizerFast
from trl.trainer.grpo_trainer import GRPOTrainer

from workers.common.prompt import HINTS, REASONS, SEPARATOR
from workers.common.reasons import fault
from workers.training import base, runs
from workers.training.advantages import (
    idle_groups,
    list_advantages,
    mean_reward,
    on_tokens,
    query_advantages,
    rationale_length,
    segments,
)
from workers.training.grpo_arguments import arguments
from workers.training.loss_log import LossLog, plot_rewards
from workers.training.occasions import Occasion, Rewarder
from workers.training.recipe import GrpoRecipe, Recipe
from workers.training.repeats import NoRepeats
from workers.training.rewards import FLOOR, Written
from workers.training.sft import ATTENTION
from workers.training.tokenizer import openings

_CLIP_SCALE = (0.5, 2.0)


class ListPolicyTrainer(GRPOTrainer):
    """TRL's trainer with an advantage for each query of a list. Call `set_up` before `train`."""

    def set_up(
        self, occasions: Sequence[Occasion], judge: Rewarder, recipe: GrpoRecipe, tokenizer: PreTrainedTokenizerFast
    ) -> None:
        """Say what is drawn for (a row's `place` is an index of `occasions`), what it is worth, and how to learn."""
        self._occasions, self._judge, self._recipe, self._tokenizer = occasions, judge, recipe, tokenizer
        self._clip = (recipe.epsilon_low, recipe.epsilon_high)
        separators = tokenizer(SEPARATOR, add_special_tokens=False)["input_ids"]
        whole_queries = openings(tokenizer)
        self._openings = frozenset([*separators, *whole_queries])
        hints: Any = tokenizer.convert_tokens_to_ids(HINTS)
        padding: Any = tokenizer.pad_token_id
        self._hints = hints
        barred = whole_queries and recipe.vllm == "off"
        self._no_repeats = NoRepeats(whole_queries, hints, padding) if barred else None

    def draw_as_served(self, model: Any) -> None:
        """Have lists drawn from `model` without repetitions, if its queries are tokens; TRL has no setting for it."""
        if self._no_repeats is not None:
            model.generate = functools.partial(model.generate, logits_processor=LogitsProcessorList([self._no_repeats]))

    def score(self, place: Sequence[int], completion_ids: Sequence[list[int]]) -> list[float | None]:
        """Judge completions, keep what `_generate_and_score_completions` needs, and return a number each, for logs."""
        self._lengths: list[list[int]] = []
        self._rewards: list[list[float | None]] = []
        self._sequences: list[float] = []
        right = lines = 0
        for n, ids in zip(place, completion_ids, strict=True):
            occasion, lead = self._occasions[n], 0
            if occasion.prompt.endswith(REASONS):
                lead = self._rationale(ids)
                if not lead:  # is no answer at all
                    self._keep([len(ids)], [FLOOR], FLOOR)
                    continue
            lengths = segments(ids[lead:], self._openings)
            written = self._written(ids[lead:], lengths)
            queries, whole = self._judge.rewards(occasion, written)
            self._keep([lead] * bool(lead) + lengths, [*[None] * bool(lead), *queries], whole)
            right += len(set(written.lines) & set(occasion.coming))
            lines += len(lengths)
        self._log_metric("found", right / max(1, lines))
        means = map(mean_reward, self._rewards)
        return [mean if math.isfinite(mean) else None for mean in means]

    def _keep(self, lengths: list[int], rewards: list[float | None], sequence: float) -> None:
        self._lengths.append(lengths)
        self._rewards.append(rewards)
        self._sequences.append(sequence)

    def _rationale(self, ids: list[int]) -> int:
        """Return how many tokens a rationale has, with the `<hints>` that ends it; 0 if that does not parse."""
        marks = {self._hints, self._tokenizer.convert_tokens_to_ids(REASONS)}
        length = rationale_length(ids, self._hints, marks)
        said = str(self._tokenizer.decode(ids[: max(0, length - 1)], skip_special_tokens=False))
        return 0 if fault(said.strip()) else length

    def _written(self, ids: list[int], lengths: Sequence[int]) -> Written:
        start, lines = 0, []
        for length in lengths:
            text = str(self._tokenizer.decode(ids[start : start + length], skip_special_tokens=True))
            lines.append(text.strip())
            start += length
        return Written(lines, whole=bool(ids) and ids[-1] == self._tokenizer.eos_token_id)

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        output = super()._generate_and_score_completions(inputs)
        group, weight = self._recipe.group, self._recipe.rewards.sequence
        advantages = query_advantages if self._recipe.advantage == "query" else list_advantages
        found = advantages(self._rewards, self._sequences, group, weight)
        matrix = on_tokens(found, self._lengths, output["completion_ids"].shape[1])
        output["advantages"] = matrix.to(output["completion_ids"].device)
        idle = idle_groups(self._rewards, self._sequences, group)
        self._metrics["train"]["idle_groups"].append(idle * group / len(self._rewards))
        known = [one for one in self._sequences if math.isfinite(one)]
        self._metrics["train"]["sequence_reward"].append(sum(known) / max(1, len(known)))
        return output

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        *arguments: Any,
        compute_entropy: bool = False,
        **named: Any,
    ) -> Any:
        written = attention_mask[:, -logits_to_keep:].bool()
        if input_ids.device.type == "cpu":
            logps, entropies = self._score_written(model, input_ids, attention_mask, written)
            extra = None
        else:
            logps, entropies, extra = super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, *arguments, compute_entropy=compute_entropy, **named
            )
        if self._recipe.adaptive_clip and compute_entropy:
            # TRL declares them as numbers, and computes with them by element.
            scale: Any = clip_scale(entropies.detach(), written)
            self.epsilon_low, self.epsilon_high = (epsilon * scale for epsilon in self._clip)
        return logps, entropies, extra

    def _score_written(
        self, model: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor, written: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Score written tokens only: TRL's way takes thrice a step's time here."""
        count = written.shape[1]
        places = torch.nn.functional.pad(written, (input_ids.shape[1] - 1 - count, 0))
        with self.accelerator.autocast():
            raw = base.scores_after(self.accelerator.unwrap_model(model), input_ids, places, attention_mask)
            scores = (raw / self.temperature).float()
            if self._no_repeats is not None:
                scores = self._no_repeats.bar(scores, input_ids, written)
            scores = scores.log_softmax(-1)
        logps = scores.gather(-1, input_ids[:, -count:][written].unsqueeze(-1)).squeeze(-1)
        entropies = -(scores.exp() * scores).sum(-1)
        zeros = logps.new_zeros(written.shape)
        return zeros.masked_scatter(written, logps), zeros.masked_scatter(written, entropies)

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        """Skip a step whose loss or gradient is not finite, and count it: one such step would ruin the weights."""
        loss: torch.Tensor = super().training_step(model, inputs, num_items_in_batch)  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
        norm = norm.full_tensor() if isinstance(norm, DTensor) else norm
        skipped = not bool(torch.isfinite(loss) & torch.isfinite(norm))
        self._metrics["train"]["steps_skipped"].append(float(skipped))
        if skipped:
            model.zero_grad()
            return torch.zeros_like(loss)
        return loss


def clip_scale(entropies: torch.Tensor, written: torch.Tensor) -> torch.Tensor:
    """Return what scales each token's clip range, (lists, tokens); `written` is 1 on tokens that are not padding."""
    mean = (entropies * written).sum() / written.sum().clamp(min=1)
    return (entropies / mean.clamp(min=1e-6)).clamp(*_CLIP_SCALE)


def as_vllm_names(weights: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Return merged weights under the names of the model without its adapter.

    TRL takes LoRA's parts out of names, and does not know those of trained tokens.
    """
    for name, weight in weights:
        if "trainable_tokens_" not in name:
            yield name.replace(".token_adapter", ""), weight


def train(
    occasions: Sequence[Occasion],
    judge: Rewarder,
    recipe: Recipe,
    stage: GrpoRecipe,
    start: Path,
    out: Path,
    sources: Sequence[str] = (),
) -> dict[str, float]:
    """Go on from the checkpoint `start` and write the model to `out`; return figures.

    Work in progress in `<out>.work` is resumed; what was finished with the same recipe, moments, start and `sources`
    (digests of what rewards come from) is not done again.

    Raises:
        ArtefactError: the disk has no room for it.
    """
    began = time.perf_counter()
    torch.manual_seed(recipe.seed)
    told = hashlib.blake2b(digest_size=16)
    for one in occasions:
        told.update(repr((one.prompt, one.labels, one.coming)).encode())
    described = [stage.model_dump(), recipe.seed, told.hexdigest(), runs.digest(start), *sources]
    work = runs.work_directory(out, described)
    if (done := runs.finished(work, out)) is not None:
        return done
    tokenizer = PreTrainedTokenizerFast.from_pretrained(start, padding_side="left")
    model = base.begin(recipe, tokenizer, start)
    runs.check_space(out, model)
    model.set_attn_implementation(ATTENTION)

    def reward(place: list[int], completion_ids: list[list[int]], **_: Any) -> list[float | None]:
        return trainer.score(place, completion_ids)

    trainer = ListPolicyTrainer(
        model=model,
        reward_funcs=[reward],
        args=arguments(stage, recipe.seed, work, reasoned=any(one.prompt.endswith(REASONS) for one in occasions)),
        train_dataset=Dataset.from_dict(
            {"prompt": [one.prompt for one in occasions], "place": list(range(len(occasions)))}
        ),
        processing_class=tokenizer,
        callbacks=[LossLog(work / "loss.jsonl")],
    )
    trainer.set_up(occasions, judge, stage, tokenizer)
    trainer.draw_as_served(model)
    if stage.vllm != "off":
        engine: Any = trainer.vllm_generation
        named = engine._iter_named_params  # noqa: SLF001  (no other place where TRL names weights)
        engine._iter_named_params = lambda: as_vllm_names(named())  # noqa: SLF001
    trainer.train(resume_from_checkpoint=runs.resumable(work))
    figures = {
        "lists": float(stage.steps * stage.prompts * stage.group),
        "steps": float(stage.steps),
        **base.sizes(model),
        "seconds": round(time.perf_counter() - began, 1),
    }
    with runs.replacing(work, out, figures) as staging:
        if base.save(trainer, staging):
            PreTrainedTokenizerFast.from_pretrained(start).save_pretrained(staging)
            plot_rewards(work / "loss.jsonl", staging / "loss.png")
    return figures
