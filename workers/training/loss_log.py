"""The loss of a training run: logged step by step, and drawn."""

import json
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
        if logs and "loss" in logs:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": state.global_step, **logs}) + "\n")


def plot_loss(log: Path, image: Path) -> None:
    """Draw the training loss by step."""
    points = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.exists() else []
    figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
    axes.plot([point["step"] for point in points], [point["loss"] for point in points])
    axes.set(xlabel="step", ylabel="loss (nats a token)", title="IL-SFT", yscale="log")
    axes.grid(alpha=0.3)
    figure.savefig(image, dpi=110)
    plt.close(figure)
