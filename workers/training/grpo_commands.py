"""`aigq train grpo`."""

import os
import warnings
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.progress import Progress

from service.contracts.errors import ArtefactError, ConfigError
from service.ranking.catalogue import digest
from service.ranking.inverted_index import InvertedIndex
from workers.common.dataset import Dataset
from workers.common.item_text import texts
from workers.common.learning import read_events
from workers.common.prompt import REASONS
from workers.common.ranked_list import candidates_taught, plain_taught
from workers.common.reasons import read_lessons
from workers.training import card, samples
from workers.training.recipe import GrpoRecipe, Recipe


def add(app: typer.Typer) -> None:
    """Add `grpo` to `aigq train`."""
    app.command(
        epilog="Example: aigq train grpo --data data/shop --start models/mini --ctr models/mini-ctr --out models/rl"
    )(grpo)


def grpo(
    *,
    data: Annotated[Path, typer.Option(help="dataset directory")],
    start: Annotated[Path, typer.Option(help="checkpoint to go on from, of aigq train sft")],
    ctr: Annotated[Path, typer.Option(help="CTR ranker that rewards, of aigq train ctr")],
    out: Annotated[Path, typer.Option(help="checkpoint directory to write")],
    recipe: Annotated[str, typer.Option(help="name of a file in configs/train")] = "mini",
    seed: Annotated[int | None, typer.Option(help="of all randomness; default: the recipe's")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="default: the recipe's")] = None,
    triggers: Annotated[
        float | None, typer.Option(min=0, max=1, help="share of lists for items and categories; default: the recipe's")
    ] = None,
    reasons: Annotated[
        Path | None, typer.Option(help="lessons of aigq think distil: every other trigger is one, asked for reasons")
    ] = None,
    list_advantage: Annotated[bool, typer.Option("--list-advantage", help="one advantage a list (ablation)")] = False,
    no_adaptive_clip: Annotated[bool, typer.Option("--no-adaptive-clip", help="one clip range (ablation)")] = False,
    no_dynamic_entropy: Annotated[bool, typer.Option("--no-dynamic-entropy", help="no bonus (ablation)")] = False,
    no_ctr_reward: Annotated[bool, typer.Option("--no-ctr-reward", help="(ablation)")] = False,
    no_sequence_reward: Annotated[bool, typer.Option("--no-sequence-reward", help="(ablation)")] = False,
) -> None:
    """List-level policy optimisation (IL-GRPO). Run it again after a kill and it resumes."""
    chosen = Recipe.load(recipe)
    if chosen.grpo is None:
        raise ConfigError(f"configs/train/{recipe}.toml: has no section [grpo]; add one, as in mini.toml")
    stage = chosen.grpo
    if chosen.lora and stage.vllm != "off" and os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true":
        raise ConfigError(
            "vLLM gets the adapter merged, which peft cannot do with a model spread by FSDP: launch without fsdp.yaml"
        )
    chosen = chosen.model_copy(update={"seed": chosen.seed if seed is None else seed})
    off: dict[str, Any] = {"ctr": 0.0} if no_ctr_reward else {}
    off |= {"sequence": 0.0} if no_sequence_reward else {}
    switched = {
        "steps": steps or stage.steps,
        "triggers": stage.triggers if triggers is None else triggers,
        "advantage": "list" if list_advantage else stage.advantage,
        "adaptive_clip": stage.adaptive_clip and not no_adaptive_clip,
        "dynamic_entropy": stage.dynamic_entropy and not no_dynamic_entropy,
        "rewards": stage.rewards.model_copy(update=off),
    }
    stage = stage.model_copy(update=switched)
    if reasons is not None and not stage.triggers:
        raise ConfigError("--reasons are of triggers, of which no list is drawn: set --triggers too")
    typer.echo(orjson.dumps(_grpo(data, start, ctr, out, chosen, stage, reasons)))


def as_taught(recipe: Recipe, start: Path) -> Recipe:
    """Return the recipe with prompts such as the checkpoint or adapter `start` was taught by, whatever it says itself.

    Raises:
        ArtefactError: `start` does not say.
    """
    told = {"candidates": candidates_taught(start), "plain": plain_taught(start)}
    return recipe.model_copy(update={"data": recipe.data.model_copy(update=told)})


def _grpo(
    data: Path, start: Path, ctr: Path, out: Path, chosen: Recipe, stage: GrpoRecipe, reasons: Path | None
) -> dict[str, Any]:
    from service.ranking.ctr import MODEL, QUERIES, CtrScorer  # noqa: PLC0415  (lightgbm is slow to import)

    dataset = Dataset(data)
    if not any(start.glob("*.safetensors")):
        raise ArtefactError(f"{start}: is not a checkpoint (no *.safetensors); --start names a directory of models/")
    lessons = [] if reasons is None else list(read_lessons(reasons, dataset.provenance()))
    if lessons and REASONS not in (start / "tokenizer.json").read_text(encoding="utf-8"):
        raise ArtefactError(f"{start}: was not taught reasons; train it with: aigq train sft --reasons {reasons}")
    chosen = as_taught(chosen, start)
    scorer = CtrScorer.open(ctr)
    if scorer.meta.part != "train":
        raise ArtefactError(f"{ctr}: learned from the part {scorer.meta.part!r}, which judges; reward with part train")
    with Progress(console=Console(stderr=True)) as progress:
        learning = progress.add_task("what is searched next", total=None)
        shop = samples.Shop.read(dataset, chosen.data, chosen.seed, lambda done: progress.advance(learning, done))
        # Each step on fresh moments; with several iterations a step's lists are used again.
        count = -(-stage.steps // stage.iterations) * stage.prompts
        triggers = round(count * stage.triggers)
        drawing = progress.add_task("moments", total=count - triggers)
        from workers.training import occasions  # noqa: PLC0415

        drawn = occasions.occasions(
            shop, chosen.data, count - triggers, chosen.seed, lambda n: progress.advance(drawing, n)
        )
        drawn += occasions.of_triggers(shop, lessons, triggers, chosen.seed)
    with TemporaryDirectory() as folder:
        InvertedIndex.write(Path(folder) / "words.mdb", texts(shop.items, read_events(dataset)))
        with closing(InvertedIndex.open(Path(folder) / "words.mdb")) as index:
            rewarder = occasions.CtrRewarder(scorer, index.finds, stage.rewards)
            with warnings.catch_warnings():
                # Our vLLM is newer than TRL's list.
                warnings.filterwarnings("ignore", message="TRL currently supports vLLM")
                from workers.training import grpo as policy  # noqa: PLC0415  (seconds to import)
                from workers.training import runs  # noqa: PLC0415
            sources = [digest(ctr / name) for name in (MODEL, QUERIES)]
            figures = policy.train(drawn, rewarder, chosen, stage, start, out, sources)
    if runs.is_main():
        started_from = f"{start.name} (weights {runs.digest(start)})"
        card.write(out, chosen.model_copy(update={"grpo": stage}), dataset.manifest, figures, started_from, "grpo")
    return {"model": str(out), **figures}
