"""The curves of a training run: logged step by step, and drawn."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

mpl.use("Agg")


class LossLog(TrainerCallback):
    """Append each logged loss to a JSON-lines file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """See `TrainerCallback`."""
        del args, control, kwargs
        if state.is_world_process_zero and logs and "loss" in logs:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": state.global_step, **logs}) + "\n")


def plot_loss(log: Path, image: Path) -> None:
    """Draw the training loss by step."""
    _plot(log, image, "IL-SFT", {"loss": "loss (nats a token)"}, yscale="log")


def plot_rewards(log: Path, image: Path) -> None:
    """Draw rewards, what was found, and entropy by step."""
    curves = {
        "reward": "reward a query",
        "sequence_reward": "reward a list",
        "found": "share of lines searched next",
        "entropy": "entropy (nats a token)",
    }
    _plot(log, image, "IL-GRPO", curves)


def _plot(log: Path, image: Path, title: str, curves: Mapping[str, str], yscale: str = "linear") -> None:
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    points = [json.loads(line) for line in lines]
    figure, axes = plt.subplots(
        len(curves), figsize=(7, 1 + 2.5 * len(curves)), layout="constrained", sharex=True, squeeze=False
    )
    for (key, name), (axis,) in zip(curves.items(), axes, strict=True):
        known = [(point["step"], point[key]) for point in points if point.get(key) is not None]
        axis.plot([step for step, _ in known], [value for _, value in known])
        axis.set(ylabel=name, yscale=yscale)
        axis.grid(alpha=0.3)
    axes[0][0].set_title(title)
    axes[-1][0].set_xlabel("step")
    figure.savefig(image, dpi=110)
    plt.close(figure)
