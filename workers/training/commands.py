"""`aigq train`: train a model from a dataset."""

from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.progress import Progress

from service.contracts.errors import ArtefactError
from service.ranking.catalogue import digest
from workers.common.dataset import Dataset
from workers.training import card, samples
from workers.training.recipe import Recipe

app = typer.Typer(help="Train a model from logs.", no_args_is_help=True)


@app.callback()
def main() -> None:
    """Keep `sft` a subcommand of its own."""


@app.command(epilog="Example: aigq train sft --data data/shop --recipe mini --out models/aigq-mini")
def sft(
    data: Annotated[Path, typer.Option(help="dataset directory")],
    out: Annotated[Path, typer.Option(help="checkpoint directory to write")],
    recipe: Annotated[str, typer.Option(help="name of a file in configs/train")] = "mini",
    start: Annotated[Path | None, typer.Option(help="checkpoint to go on from; default: from scratch")] = None,
) -> None:
    """Samples, tokenizer, list-level fine-tuning, model card. Run it again after a kill and it resumes."""
    chosen = Recipe.load(recipe)
    dataset = Dataset(data)
    if start is not None and not (start / "model.safetensors").exists():
        raise ArtefactError(
            f"{start}: is not a checkpoint (no model.safetensors); --start names a directory of models/"
        )
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("samples", total=dataset.manifest.get("shoppers"))
        rows = samples.build(dataset, chosen.data, chosen.seed, lambda done: progress.advance(task, done))
    typer.echo(f"{len(rows)} samples", err=True)
    # Only now, once the data is known to be good: these imports take seconds.
    from transformers import PreTrainedTokenizerFast  # noqa: PLC0415

    from workers.training import sft as stage  # noqa: PLC0415
    from workers.training import tokenizer as tokenizers  # noqa: PLC0415

    texts = (text for row in rows for text in (row.prompt, row.completion))
    if start is None:
        tokenizer = tokenizers.train(texts, chosen.tokenizer.vocabulary)
        started_from = "scratch"
    else:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(start)
        started_from = f"{start.name} (weights {digest(start / 'model.safetensors')})"
    figures = stage.train(rows, tokenizer, chosen, out, start)
    card.write(out, chosen, dataset.manifest, figures, started_from)
    typer.echo(orjson.dumps({"model": str(out), **figures}))
