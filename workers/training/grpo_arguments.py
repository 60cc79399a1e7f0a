"""What TRL is told of a recipe's IL-GRPO."""

from pathlib import Path

import torch
from trl.trainer.grpo_config import GRPOConfig

from workers.training.recipe import GrpoRecipe


def arguments(stage: GrpoRecipe, seed: int, work: Path, *, reasoned: bool = False) -> GRPOConfig:
    """Return what TRL is told of a recipe; `reasoned`: some lists are asked for with reasons."""
    return GRPOConfig(
        output_dir=str(work),
        max_steps=stage.steps,
        per_device_train_batch_size=stage.prompts * stage.group // stage.parts,
        gradient_accumulation_steps=stage.parts,
        num_generations=stage.group,
        steps_per_generation=stage.parts,
        num_iterations=stage.iterations,
        learning_rate=stage.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=max(1, stage.steps // 20),
        max_grad_norm=1.0,
        beta=0.0,
        loss_type="grpo",
        epsilon=stage.epsilon_low,
        epsilon_high=stage.epsilon_high,
        use_adaptive_entropy=stage.dynamic_entropy,
        entropy_target=stage.entropy_target,
        entropy_coef_max=0.05,
        entropy_coef_delta=0.001,
        temperature=stage.temperature,
        max_completion_length=stage.max_tokens_reasoned if reasoned else stage.max_tokens,
        bf16=True,
        use_cpu=not torch.cuda.is_available(),
        gradient_checkpointing=False,
        logging_steps=max(1, min(10, stage.steps // 20)),
        save_strategy="steps",
        save_steps=max(1, stage.steps // stage.checkpoints),
        save_total_limit=1,
        seed=seed,
        report_to="none",
        remove_unused_columns=False,
        router_aux_loss_coef=0.0,  # lists are judged here, not how experts share them
        use_vllm=stage.vllm != "off",
        vllm_mode="colocate" if stage.vllm == "off" else stage.vllm,
        vllm_server_base_url=stage.vllm_server if stage.vllm == "server" else None,
    )
