"""`aigq demo`: start everything, play sample shoppers, show hints and times, keep serving."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from service.ranking.catalogue import Catalogue
from workers.common import artefacts
from workers.common.processes import Processes, StartError, aigq
from workers.common.ranked_list import ranking_settings, shipped_ranker
from workers.demo import sample, show, stack
from workers.demo.story import Story

app = typer.Typer(help="Start everything and watch a click become a hint.")
# Shoppers of another seed than the shipped model was trained on.
_SEED = 20261123
_SHOPPERS = 3000
_DAYS = 30
_WIDTH = 140
"""Columns where the output is not a terminal."""


@app.command(epilog="Example: aigq demo --once --shoppers 24")
def demo(
    *,
    once: Annotated[bool, typer.Option(help="print the figures as one JSON line and stop")] = False,
    shoppers: Annotated[int, typer.Option(min=1, max=500, help="sample shoppers to play")] = 24,
    shown: Annotated[int, typer.Option(min=0, help="how many of them to print")] = 6,
    model: Annotated[Path, typer.Option(help="checkpoint directory to serve")] = Path("models/aigq-mini"),
    ranker: Annotated[
        Path | None, typer.Option(help="directory of aigq train ranker; default: MODEL-ranker, if it is there")
    ] = None,
    var: Annotated[Path, typer.Option(help="directory for data, artefacts and logs")] = Path("var/demo"),
) -> None:
    """Start Valkey, vLLM, the service and a worker; replay shoppers; print hints before, after a click, refreshed."""
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    stack.preflight(model)
    ranker = ranker or shipped_ranker(model)
    for received in (signal.SIGINT, signal.SIGTERM):  # SIGINT too: a shell's background jobs ignore it
        signal.signal(received, _interrupt)
    try:
        with ExitStack() as exits:
            _play(exits, console, model=model, ranker=ranker, var=var, shoppers=shoppers, shown=shown, once=once)
    except KeyboardInterrupt:
        console.print("\nstopped: all processes have ended")


def _interrupt(number: int, frame: object) -> None:
    del number, frame
    raise KeyboardInterrupt


def _play(
    exits: ExitStack,
    console: Console,
    *,
    model: Path,
    ranker: Path | None,
    var: Path,
    shoppers: int,
    shown: int,
    once: bool,
) -> None:
    store = stack.start_valkey(exits)  # before the processes, so that it ends after them
    processes = exits.enter_context(Processes(var / "logs"))
    env = {
        "AIGQ_SERVICE_ARTEFACTS": str(var / "artefacts"),
        **ranking_settings(model, ranker),
        **store,
    }
    env["AIGQ_VLLM_URL"], wait_for_vllm = stack.start_vllm(processes, model)
    with _step(console, "sample shop's logs and the catalogue artefact"):
        data = _dataset(var)
        players = sample.choose(data, shoppers, time.time())
        version = artefacts.build(data, var / "artefacts")
        catalogue = Catalogue.open(var / "artefacts")
        version = artefacts.build(data, var / "artefacts", show.sample_json(players, catalogue))
    console.print(f"  artefact {version}", style="dim")
    with _step(console, "vLLM with the model (about half a minute)"):
        wait_for_vllm()
    with _step(console, "service and Direct worker"):
        url = stack.start_service(processes, env)
        stack.start_direct(processes, env)
    triggers = _publish_x2q(data, var, env)
    stack.wait_for_x2q(url, processes)

    story = Story(url, players)
    with _bar(console, "histories sent", shoppers) as advance:
        story.post_histories(advance)
    with _bar(console, "lists generated", shoppers) as advance:
        story.wait_for_lists(advance)
    with _bar(console, "clicked and refreshed", shoppers) as advance:
        story.click(advance)
    with _bar(console, "hints requests timed", 500) as advance:
        latencies = story.latencies_ms(advance)
    for one in story.scenes[:shown]:
        show.scene(console, one, catalogue)
    if shown:
        show.legend(console)
    summary = story.summary(latencies, triggers)
    if once:
        console.print()
        typer.echo(orjson.dumps(summary))
        return
    show.figures(console, summary)
    console.print(f"\nOpen [bold]{url}/[/bold] in a browser ({url}/docs for the API), or try:", highlight=False)
    console.print(f"  curl '{url}/v1/hints?user_id={players[0].user_id}'", highlight=False)
    console.print(f"Logs are in {var / 'logs'}. Ctrl-C stops everything.", highlight=False)
    while (dead := processes.dead()) is None:
        time.sleep(0.5)
    raise StartError(f"{dead} ended by itself; see {processes.log(dead)}")


def _dataset(var: Path) -> Path:
    """Return the sample logs, generated once for each version of the shop."""
    described = subprocess.run(aigq("shop", "hash"), check=True, capture_output=True, text=True)  # noqa: S603
    data = var / f"shop-{described.stdout.split()[-1][:12]}-{_SEED}-{_SHOPPERS}x{_DAYS}"
    if not (data / "manifest.json").exists():
        size = ("--shoppers", str(_SHOPPERS), "--days", str(_DAYS), "--seed", str(_SEED))
        subprocess.run(aigq("shop", "generate", *size, "--out", str(data)), check=True, stdout=subprocess.DEVNULL)  # noqa: S603
    return data


def _publish_x2q(data: Path, var: Path, env: dict[str, str]) -> int:
    """Run `aigq think distil` and `publish` as a user would; their progress bars go to our stderr."""
    lessons = str(var / "lessons.parquet")
    _think(env, "distil", "--everybody", "--data", str(data), "--out", lessons)
    return int(_think(env, "publish", "--data", str(data), "--lessons", lessons)["filled"])


def _think(env: dict[str, str], name: str, *arguments: str) -> dict[str, Any]:
    command = aigq("think", name, *arguments, "--json")
    done = subprocess.run(command, env={**os.environ, **env}, check=False, stdout=subprocess.PIPE)  # noqa: S603
    if done.returncode:
        raise StartError(f"aigq think {name} failed; what it said is above")
    report: dict[str, Any] = orjson.loads(done.stdout)
    return report


@contextmanager
def _step(console: Console, text: str) -> Iterator[None]:
    """Show a spinner while working, then the time it took."""
    started = time.monotonic()
    with console.status(text):
        yield
    console.print(f"[green]✓[/green] {text} [dim]{time.monotonic() - started:.1f} s[/dim]", highlight=False)


@contextmanager
def _bar(console: Console, text: str, total: int) -> Iterator[Callable[[], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(text, total=total)
        yield lambda: progress.advance(task)
