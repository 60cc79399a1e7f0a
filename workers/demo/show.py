"""How the demo prints."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from service.contracts.hints import Source
from service.ranking.catalogue import Catalogue
from workers.demo.sample import SampleShopper
from workers.demo.story import Scene

_STYLES: Mapping[Source, str] = {"u2q": "green", "x2q": "cyan", "co_click": "blue", "text": "blue", "popular": "dim"}
_SOURCES: Mapping[Source, str] = {
    "u2q": "the shopper's own list, from all that they did, by the model and the ranker",
    "x2q": "what one action leads to, written ahead from the logs",
    "co_click": "what one action leads to, by the logs",
    "text": "what one action leads to, by its words",
    "popular": "what shoppers like this one search",
}
_FIGURES = {
    "shoppers": "sample shoppers played",
    "u2q_filled": "of them got a new list after the click",
    "x2q_triggers": "items, categories, searches and segments with a list written ahead",
    "hints_from_u2q": "hints from the shoppers' own lists, after the click and after the refresh",
    "hints_from_x2q": "from lists written ahead",
    "hints_from_fallback": "from co_click, text and popular",
    "event_to_u2q_p95_s": "seconds from the click to the new list; 95 of 100 took no longer",
    "hints_p50_ms": "milliseconds of a request for hints, median",
    "hints_p99_ms": "99 of 100 took no longer",
}
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


def legend(console: Console) -> None:
    """Print what the sources of hints are."""
    console.print("\nWhere a hint comes from:")
    for source, meaning in _SOURCES.items():
        console.print(Text.assemble("  ", (f"{source:<9}", _STYLES[source]), meaning))


def figures(console: Console, summary: Mapping[str, Any]) -> None:
    """Print the demo's figures (`Story.summary`), each with what it is."""
    console.print()
    for name, value in summary.items():
        console.print(f"  {name:<20}{value:>8}  [dim]{_FIGURES[name]}[/dim]", highlight=False)


def _hint(hint: Mapping[str, Any]) -> Text:
    return Text.assemble((f"{hint['source']:<9}", _STYLES[hint["source"]]), hint["query"])
