"""`aigq think`: publish x2q, look at its versions, compare them, go back."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table

from service import telemetry
from service.contracts.keys import Keys
from service.contracts.redis import check_partitions, make_redis
from service.contracts.settings import Settings, load_settings
from service.ranking.catalogue import open_catalogue
from workers.common import triggers
from workers.common.engine import EngineName, make_engine
from workers.common.prompt import PROMPT_TOKENS, REASONING_TOKENS
from workers.common.reasons import lessons_by_trigger
from workers.common.vllm_client import VllmGenerator
from workers.think import distil_commands
from workers.think.compare import Difference, compare
from workers.think.job import Job, Progress, trigger_canary
from workers.think.publish import PublishError, X2QStore

app = typer.Typer(
    help="Write what triggers lead to (AIGQ-Think): publish, look, compare, go back.", no_args_is_help=True
)
distil_commands.add(app)
Config = Annotated[Path | None, typer.Option(help="settings file (TOML)")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
_STOPPED = 130
"""Exit code of what Ctrl-C ended."""
_WIDTH = 140
"""Columns where the output is not a terminal."""


@app.command(epilog="Example: aigq think publish --data data/shop")
def publish(
    data: Annotated[Path, typer.Option(help="dataset directory: items, events, profiles")],
    config: Config = None,
    as_json: AsJson = False,
    lessons: Annotated[
        Path | None, typer.Option(help="of aigq think distil: their lists are published, the model fills the rest")
    ] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="generate every list anew, copy none")] = False,
    force: Annotated[bool, typer.Option("--force", help="publish although a check says no")] = False,
    engine: Annotated[EngineName, typer.Option(help="who sends batches: this process, or Ray Data")] = EngineName.LOCAL,
) -> None:
    """Make lists for the triggers with the most traffic a token, and make them the current x2q version.

    Lists whose context has not changed are copied from the current version, or from a run that was stopped.
    """
    settings = load_settings(config)
    known = lessons_by_trigger(lessons, data, serving=True)
    catalogue = open_catalogue(settings.service)
    columns = (
        TextColumn("x2q"), BarColumn(), MofNCompleteColumn(), TextColumn("triggers"), TimeRemainingColumn(),
        TextColumn("{task.fields[left]}"),
    )  # fmt: skip

    telemetry.trace_clients(settings.trace, "think")

    async def work(store: X2QStore) -> None:
        chosen = triggers.select(
            data, settings.think.max_items, settings.think.token_budget, await _list_tokens(store, settings)
        )
        tokens = REASONING_TOKENS if settings.think.reasoning else PROMPT_TOKENS
        async with VllmGenerator(settings.vllm, tokens=tokens) as generator:
            with Bar(*columns, console=Console(stderr=True)) as bar:
                task = bar.add_task("x2q", total=len(chosen.prompts), left="")

                def show(at: Progress) -> None:
                    left = "" if at.tokens_left is None else f"{at.tokens_left:,} tokens of the budget left"
                    bar.update(task, completed=at.done, left=left)

                sender = make_engine(engine, generator, settings.vllm, settings.think.ray_batches)
                canary = trigger_canary(generator, catalogue, reasoning=settings.think.reasoning)
                job = Job(store, canary, catalogue, settings, sender, known)
                version, report, difference = await job.run(chosen, show, everything=everything, force=force)
        if as_json:
            typer.echo(orjson.dumps({"version": version, **asdict(report), "difference": difference}))
            return
        typer.echo(
            f"x2q {version}: {report.filled} of {report.triggers} triggers, {report.queries} queries; "
            f"{report.copied} lists copied, {report.taught} of lessons, {report.generated} asked for, "
            f"{report.tokens} tokens, {report.seconds} s"
        )
        if difference is not None:
            _print_difference(difference)

    try:
        asyncio.run(_with_store(settings, work))
    except KeyboardInterrupt:
        typer.echo(
            "stopped: nothing is published; the lists made so far stay for a day, and the next run uses them", err=True
        )
        raise typer.Exit(_STOPPED) from None


@app.command()
def status(config: Config = None, as_json: AsJson = False) -> None:
    """List the versions in Redis: what they hold, what they cost, what traffic they cover."""
    settings = load_settings(config)

    async def work(store: X2QStore) -> None:
        current, versions, unfinished = await store.current(), await store.info(), await store.unfinished()
        if as_json:
            typer.echo(orjson.dumps({"current": current, "versions": versions, "unfinished": unfinished}))
            return
        table = Table(
            "version", "", "age", "model", "filled", "by kind", "covers", "copied", "asked", "tokens", "changed"
        )
        for version, info in sorted(versions.items()):
            table.add_row(version, "current" if version == current else "", *_cells(info))
        for version in unfinished:
            table.add_row(version, "unfinished")
        _console().print(table)

    asyncio.run(_with_store(settings, work))


@app.command(epilog="Example: aigq think diff")
def diff(
    before: Annotated[str | None, typer.Argument(help="default: the version before AFTER")] = None,
    after: Annotated[str | None, typer.Argument(help="default: the current version")] = None,
    samples: Annotated[int, typer.Option(min=0, help="changed lists to show")] = 5,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Compare two versions: lists by kind, what came, went and changed, with samples."""
    settings = load_settings(config)

    async def work(store: X2QStore) -> None:
        new = after or await store.current()
        old = before or (await store.previous(new) if new else None)
        if old is None or new is None:
            raise PublishError("there are no two x2q versions in Redis to compare; see: aigq think status")
        known = {*await store.info(), *await store.unfinished()}
        if absent := [name for name in (old, new) if name not in known]:
            raise PublishError(f"there is no x2q version {absent[0]} in Redis; see: aigq think status")
        difference = await compare(store, old, new, samples)
        if as_json:
            typer.echo(orjson.dumps(difference))
        else:
            _print_difference(difference)

    asyncio.run(_with_store(settings, work))


@app.command()
def rollback(config: Config = None, as_json: AsJson = False) -> None:
    """Make the version before the current one current again."""

    async def work(store: X2QStore) -> None:
        current = await store.rollback()
        typer.echo(orjson.dumps({"current": current}) if as_json else f"x2q is now {current}")

    asyncio.run(_with_store(load_settings(config), work))


async def _list_tokens(store: X2QStore, settings: Settings) -> float:
    """Return what a list costs: as in the current version, if it was asked for alike, else the cap."""
    current = await store.current()
    info = (await store.info()).get(current, {}) if current else {}
    if info.get("generated") and info.get("tokens") and info.get("reasoning", False) == settings.think.reasoning:
        return float(info["tokens"]) / float(info["generated"])
    rationale = settings.vllm.reasoning_tokens if settings.think.reasoning else 0
    return float(rationale + settings.vllm.max_tokens)


def _cells(info: dict[str, Any]) -> list[str]:
    age = f"{(time.time() - info['published']) / 3600:.1f} h" if info.get("published") else ""
    kinds = ", ".join(f"{kind} {filled}/{asked}" for kind, (asked, filled) in info.get("kinds", {}).items())
    covered = f"{info['covered']['all']:.0%}" if info.get("covered") else ""
    changed = f"{info['changed']:.0%}" if info.get("changed") is not None else ""
    filled = f"{info.get('filled', '')}/{info.get('triggers', '')}"
    numbers = (str(info.get(name, "")) for name in ("copied", "generated", "tokens"))
    return [age, str(info.get("model", "")), filled, kinds, covered, *numbers, changed]


def _print_difference(found: Difference) -> None:
    console = _console()
    console.print(
        f"{found.before} -> {found.after}: {found.added} lists came, {found.removed} went, {found.shared} in both; "
        f"of these {found.touched} differ and {found.changed} ({found.changed_share:.0%}) lost half of their queries",
        highlight=False,
    )
    for kind, (old, new) in found.lists.items():
        console.print(f"  {kind:<10}{old:>8} -> {new}", highlight=False)
    for one in found.samples:
        console.print(f"  {escape(one.trigger)}", highlight=False)
        console.print(f"    - {escape(' | '.join(one.before))}", highlight=False)
        console.print(f"    + {escape(' | '.join(one.after))}", highlight=False)
        if one.reasons:
            console.print(f"    since {escape(one.reasons)}", highlight=False)


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else _WIDTH)


async def _with_store(settings: Settings, work: Callable[[X2QStore], Awaitable[None]]) -> None:
    keys = Keys(settings.redis.namespace, settings.redis.partitions)
    redis = make_redis(settings.redis, settings.redis.write_timeout_ms)
    try:
        await check_partitions(redis, keys)
        await work(X2QStore(redis, keys, settings.think.keep_previous_s))
    finally:
        await redis.aclose()
