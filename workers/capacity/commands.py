"""`aigq capacity`: how much memory, how many cores and accelerators, at what cost."""

from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.table import Table

from service.contracts.errors import ConfigError
from workers.capacity.model import Measured, Plant, Shop, by_name, needs

app = typer.Typer(help="Compute what a shop needs from measured figures.")
_WHOLE = 100
_FIGURES = Path(__file__).with_name("measured.toml")


@app.command(epilog="Example: aigq capacity --shoppers 5e6 --accelerator-refreshes 400 --accelerator-hour 2")
def capacity(
    *,
    shoppers: Annotated[float, typer.Option(min=1, help="known to Redis: active within behaviour.ttl_s")] = 300e6,
    daily_active: Annotated[float, typer.Option(min=0, max=1, help="share of them that comes on a day")] = 0.3,
    visits: Annotated[float, typer.Option(min=0, help="requests for hints, a day and active shopper")] = 3,
    actions: Annotated[float, typer.Option(min=0, help="events, a day and active shopper")] = 20,
    refreshes: Annotated[float, typer.Option(min=0, help="lists made anew, a day and active shopper")] = 6,
    kept_actions: Annotated[float, typer.Option(min=1, help="of a shopper, mean; at most behaviour.max_events")] = 20,
    triggers: Annotated[float, typer.Option(min=0, help="x2q triggers, both versions")] = 10e6,
    peak: Annotated[float, typer.Option(min=1, help="the busiest minute over the mean")] = 3,
    shard_gb: Annotated[float, typer.Option(min=0.1, help="memory of a Redis shard")] = 25,
    copies: Annotated[int, typer.Option(min=1, help="of each shard: a primary and its replicas")] = 2,
    load: Annotated[float, typer.Option(min=0.05, max=1, help="how full anything may be at the peak")] = 0.6,
    accelerator_refreshes: Annotated[
        float | None,
        typer.Option(min=0.1, help="shoppers/s of one of yours; default: measured, on two CPU cores"),
    ] = None,
    gb_month: Annotated[float, typer.Option(min=0, help="price of a GB of Redis for a month")] = 4.0,
    core_hour: Annotated[float, typer.Option(min=0, help="price of a core for an hour")] = 0.04,
    accelerator_hour: Annotated[
        float | None, typer.Option(min=0, help="price of one for an hour; default: two cores, as what was measured")
    ] = None,
    measured: Annotated[Path, typer.Option(help="figures measured on your machines")] = _FIGURES,
    plot: Annotated[Path | None, typer.Option(help="also draw needs and cost over shoppers, to this file")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Print Redis memory and shards, service cores, refreshes/s, accelerators and cost, and what each rests on."""
    figures = Measured.read(measured)
    shop = Shop(shoppers, daily_active, visits, actions, refreshes, kept_actions, triggers, peak)
    if accelerator_hour is None:
        if accelerator_refreshes is not None:
            raise ConfigError("--accelerator-refreshes is of your accelerator: give its price, --accelerator-hour, too")
        accelerator_hour = 2 * core_hour
    plant = Plant(shard_gb, copies, load, accelerator_refreshes, gb_month, core_hour, accelerator_hour)
    found = needs(shop, plant, figures)
    if plot is not None:
        from workers.capacity.plot import draw  # noqa: PLC0415  (matplotlib is an extra, and slow to import)

        draw(shop, plant, figures, plot)
    if as_json:
        typer.echo(orjson.dumps({"measured": figures.model_dump(mode="json"), "needs": by_name(found)}))
        return
    table = Table("", "", "", "rests on")
    table.columns[1].justify = "right"
    for one in found:
        amount = f"{one.amount:,.0f}" if one.amount >= _WHOLE else f"{one.amount:,.3g}"
        table.add_row(one.what, amount, one.unit, one.basis)
    Console().print(table)
    typer.echo(f"Measured {figures.machine.date} on {figures.machine.text}.")
