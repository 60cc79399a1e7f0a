"""How the demo prints."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from service.ranking.catalogue import Catalogue
from workers.demo.sample import SampleShopper
from workers.demo.story import Scene

_STYLES = {"u2q": "green", "x2q": "cyan", "co_click": "blue", "popular": "dim"}
_VERBS = {"search": "searched", "click": "opened", "cart": "put in cart", "purchase": "bought"}


def did(event: Mapping[str, Any], catalogue: Catalogue) -> str:
    """Return one event in words."""
    if event["type"] == "search":
        return f"searched “{event['query']}”"
    item = catalogue.item(event["item_id"])
    return f"{_VERBS[event['type']]} {item.title if item else event['item_id']}"


def sample_json(shoppers: Sequence[SampleShopper], catalogue: Catalogue) -> dict[str, Any]:
    """Return what the page at `/` offers: the sample shoppers and the items that they touched."""
    ids = {
        event["item_id"] for shopper in shoppers for event in (*shopper.history, shopper.click) if "item_id" in event
    }
    items = catalogue.items(sorted(ids)).values()
    return {
        "shoppers": [
            {
                "user_id": shopper.user_id,
                "profile": dict(shopper.profile),
                "did": [did(event, catalogue) for event in (*shopper.history, shopper.click)],
            }
            for shopper in shoppers
        ],
        "items": [
            {"item_id": item.item_id, "title": item.title, "category": item.category, "price": item.price}
            for item in items
        ],
    }


def scene(console: Console, shown: Scene, catalogue: Catalogue) -> None:
    """Print one shopper's story."""
    profile = ", ".join(value for value in shown.shopper.profile.values() if value)
    console.print(f"\n[bold]{shown.shopper.user_id}[/bold] [dim]{profile}[/dim]")
    for event in shown.shopper.history[-8:]:
        console.print(f"  {did(event, catalogue)}", style="dim", highlight=False)
    console.print(f"  [bold]now {did(shown.shopper.click, catalogue)}[/bold]", highlight=False)
    table = Table(box=None, padding=(0, 2))
    table.add_column("hints before the click")
    table.add_column("right after it")
    table.add_column(f"after the refresh ({shown.refresh_s or 0:.1f} s)")
    columns = (shown.before, shown.after_click, shown.after_refresh)
    for row in range(max(len(column) for column in columns)):
        table.add_row(*(_hint(column[row]) if row < len(column) else "" for column in columns))
    console.print(table)


def _hint(hint: Mapping[str, Any]) -> Text:
    return Text.assemble((f"{hint['source']:<8}", _STYLES[hint["source"]]), hint["query"])
