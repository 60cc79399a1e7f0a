"""`aigq train`: train a model from a dataset."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import numpy as np
import orjson
import typer
from rich.console import Console
from rich.progress import Progress

from service.contracts.errors import ArtefactError, ConfigError, TooLittleData
from workers.common.dataset import Dataset
from workers.common.ranked_list import ranker_beside
from workers.common.reasons import read_lessons
from workers.common.timed import timed
from workers.training import card, ctr_commands, grpo_commands, samples
from workers.training.recipe import BaseRecipe, Recipe

app = typer.Typer(help="Train a model from logs.", no_args_is_help=True)


ctr_commands.add(app)
grpo_commands.add(app)


_Data = Annotated[Path, typer.Option(help="dataset directory")]
_Out = Annotated[Path, typer.Option(help="directory to write")]
_Seed = Annotated[int | None, typer.Option(help="of all randomness; default: the recipe's")]
_Reasons = Annotated[Path | None, typer.Option(help="lessons of aigq think distil, learned beside the lists")]
_Name = Annotated[str, typer.Option(help="name of a file in configs/train")]


@app.command(epilog="Example: aigq train sft --data data/shop --recipe mini --out models/aigq-mini")
def sft(
    data: _Data,
    out: _Out,
    recipe: _Name = "mini",
    start: Annotated[Path | None, typer.Option(help="checkpoint to go on from; default: from scratch")] = None,
    seed: _Seed = None,
    reasons: _Reasons = None,
    *,
    next_query: Annotated[
        bool, typer.Option("--next-query", help="teach the next query alone, to compare lists with")
    ] = False,
) -> None:
    """Samples, tokenizer, histories, list-level fine-tuning, model card. Run it again after a kill and it resumes."""
    chosen = _recipe(recipe, seed)
    if next_query:
        if reasons is not None:
            raise ConfigError("--next-query teaches one query without reasons: leave --reasons out")
        chosen = chosen.model_copy(update={"data": chosen.data.model_copy(update={"label_size": 1})})
    typer.echo(orjson.dumps(_sft(data, out, chosen, start, reasons=reasons)))


@app.command(epilog="Example: aigq train merge --adapter models/aigq-smol --out models/aigq-smol-merged")
def merge(
    adapter: Annotated[Path, typer.Option(help="directory of an adapter, of a recipe with [lora]")], out: _Out
) -> None:
    """Make a checkpoint of an adapter and its base: vLLM refuses adapters with embeddings of their own."""
    from workers.training import base  # noqa: PLC0415  (seconds to import)

    typer.echo(orjson.dumps({"model": str(out), **base.merge(adapter, out)}))


@app.command("all", epilog="Example: aigq train all --data data/shop --recipe mini --out models/aigq-mini")
def whole_road(data: _Data, out: _Out, recipe: _Name = "mini", seed: _Seed = None, reasons: _Reasons = None) -> None:
    """CTR ranker (OUT-ctr), its judge (OUT-judge), the ranker of next searches (OUT-ranker), then the model.

    Run it again after a kill: what is done stays.

    Logs without hint exposures, or with few, have too few clicks on hints to rank by: it is said, and the model learns
    from searches alone.
    """
    chosen = _recipe(recipe, seed)  # a wrong name is told before minutes of work
    dataset = Dataset(data)
    if reasons is not None:
        next(read_lessons(reasons, dataset.provenance()), None)  # and so is a file of another dataset
    made: dict[str, Any] = {}
    seconds: dict[str, float] = {}
    for part in ctr_commands.Learners:
        kind = "ctr" if part is ctr_commands.Learners.TRAIN else "judge"
        folder = out.with_name(f"{out.name}-{kind}")
        try:
            if not ctr_commands.is_trained(folder, data):
                ctr_commands.ctr(data, folder, part, seed=chosen.seed)
            made[kind] = str(folder)
            seconds[kind] = ctr_commands.seconds_of(folder)
        except TooLittleData as error:
            typer.echo(f"going on without {folder.name}: {error}", err=True)
    made["ranker"] = str(ranker_beside(out))
    typer.echo(orjson.dumps({**made, **_sft(data, out, chosen, None, ranker_beside(out), reasons, seconds)}))


@app.command(epilog="Example: aigq train ranker --data data/shop --out models/ranker")
def ranker(data: _Data, out: _Out, recipe: _Name = "mini", seed: _Seed = None) -> None:
    """Learn to order what a shopper may search next: for lists when they are written (`direct.ranker`)."""
    chosen, dataset = _recipe(recipe, seed), Dataset(data)
    with Progress(console=Console(stderr=True)) as progress:
        shop = _read(dataset, chosen, progress)
    _save_ranker(shop, dataset, chosen, out)
    typer.echo(orjson.dumps({"model": str(out), "queries": len(shop.ranker.counts.popularity)}))


def _recipe(name: str, seed: int | None) -> Recipe:
    chosen = Recipe.load(name)
    return chosen if seed is None else chosen.model_copy(update={"seed": seed})


def _read(dataset: Dataset, chosen: Recipe, progress: Progress) -> samples.Shop:
    learning = progress.add_task("what is searched next", total=None)
    return samples.Shop.read(dataset, chosen.data, chosen.seed, lambda done: progress.advance(learning, done))


def _save_ranker(shop: samples.Shop, dataset: Dataset, chosen: Recipe, folder: Path) -> None:
    shop.ranker.save(folder, {"data": dataset.provenance(), "cut_off": shop.period[1], "seed": chosen.seed})


def _sft(
    data: Path,
    out: Path,
    chosen: Recipe,
    start: Path | None,
    ranker_out: Path | None = None,
    reasons: Path | None = None,
    before: Mapping[str, float] = MappingProxyType({}),
) -> dict[str, Any]:
    """Make a model; `before`: seconds of what was done for it before, by stage."""
    dataset, seconds = Dataset(data), dict(before)
    lessons = [] if reasons is None else list(read_lessons(reasons, dataset.provenance()))
    if start is not None and not any(start.glob("*.safetensors")):
        raise ArtefactError(f"{start}: is not a checkpoint (no *.safetensors); --start names a directory of models/")
    with Progress(console=Console(stderr=True)) as progress:
        with timed(seconds, "ranker"):
            shop = _read(dataset, chosen, progress)
            if ranker_out is not None:
                _save_ranker(shop, dataset, chosen, ranker_out)
        labelling = progress.add_task("samples", total=len(shop.histories))
        with timed(seconds, "samples"):
            rows = samples.build(
                shop, chosen.data, chosen.seed, lambda done: progress.advance(labelling, done), lessons
            )
            rng = np.random.default_rng(chosen.seed)
            passes = 0 if start else chosen.data.lm_passes
            histories = [
                sample for _ in range(passes) for sample in samples.lm_samples(shop, rng, plain=chosen.data.plain)
            ]
    typer.echo(f"{len(histories)} windows of histories, {len(rows)} lists, {len(lessons)} with reasons", err=True)
    # Only now, once the data is known to be good: these imports take seconds.
    from transformers import PreTrainedTokenizerFast  # noqa: PLC0415

    from workers.training import base, runs  # noqa: PLC0415
    from workers.training import sft as stage  # noqa: PLC0415
    from workers.training import tokenizer as tokenizers  # noqa: PLC0415

    if start is not None:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(start)
        started_from = f"{start.name} (weights {runs.digest(start)})"
    elif isinstance(chosen.model, BaseRecipe):
        tokenizer, started_from = base.tokenizer_of(chosen.model.base), chosen.model.base
    elif chosen.tokenizer is not None:
        phrases = samples.phrases(shop, chosen.tokenizer.queries)
        tokenizer = tokenizers.train((row.text for row in rows), chosen.tokenizer.vocabulary, phrases)
        started_from = "scratch"
    if lessons:
        tokenizers.learn_reasons(tokenizer)
    begun = start
    if histories and chosen.lm is not None:
        begun = out.with_name(f"{out.name}.lm")
        seconds["histories"] = stage.train(histories, tokenizer, chosen, chosen.lm, begun)["seconds"]
    figures = stage.train(rows, tokenizer, chosen, chosen.sft, out, begun)
    seconds["lists"] = figures.pop("seconds")
    teachers = ", ".join(sorted({one.teacher for one in lessons}))
    taught = {"lessons with reasons": f"{len(lessons)} by {teachers}"} if lessons else {}
    if runs.is_main():
        took = {f"seconds of {stage}": value for stage, value in seconds.items()}
        card.write(out, chosen, {**dataset.manifest, **taught}, figures | took, started_from)
    typer.echo(", ".join(f"{stage} {value:.0f} s" for stage, value in seconds.items()), err=True)
    return {"model": str(out), **figures, "seconds": seconds}
