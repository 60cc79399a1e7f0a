"""`aigq seeds`: the reports of several evaluations, one a training seed, as one table of means and ranges."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any, Final

import orjson
import typer
from rich.console import Console
from rich.table import Table

from service.contracts.errors import ArtefactError

app = typer.Typer(help="Put evaluations of several training seeds side by side.")
FIGURES: Final = ("hr@6", "vs_best", "novel_hr@6", "novel_vs_best", "judge@6")
COLD: Final = {"cold_hr@6": "hr@6", "cold_vs_best": "vs_best", "cold_novel_vs_best": "novel_vs_best"}
"""Figures of cold shoppers, with their names in the report."""
FORM: Final = ("format_valid", "in_catalogue", "dup_rate", "tokens_compressed")
"""Of the rows that are a model's."""
Span = dict[str, float]
"""`mean`, `least`, `most`, and how many reports had it (`seeds`)."""


def combined(reports: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Span]]:
    """Return row -> figure -> span, for each row and figure that any of the reports has.

    Raises:
        ArtefactError: the reports are of different data, so that nothing can be compared.
    """
    if len({orjson.dumps([one["data"][key] for key in ("name", "cut_off", "cases")]) for one in reports}) != 1:
        raise ArtefactError("the reports are of different data or cases; evaluate all seeds on the same dataset")
    values: dict[str, dict[str, list[float]]] = {}
    for report in reports:
        for name, found in report["methods"].items():
            row = {key: found[key] for key in FIGURES if key in found}
            row |= {key: report["cold"][name].get(inside) for key, inside in COLD.items()}
            row |= {key: report.get("generation", {}).get(name, {}).get(key) for key in FORM}
            for key, value in row.items():
                if value is not None:
                    values.setdefault(name, {}).setdefault(key, []).append(value)
    return {name: {key: _span(some) for key, some in row.items()} for name, row in values.items()}


def _span(values: Sequence[float]) -> Span:
    return {"mean": fmean(values), "least": min(values), "most": max(values), "seeds": len(values)}


def read(path: Path) -> dict[str, Any]:
    """Return the report that `aigq evaluate --out` wrote: the file, or the directory with it.

    Raises:
        ArtefactError: it is no such report.
    """
    file = path / "report.json" if path.is_dir() else path
    try:
        found: dict[str, Any] = orjson.loads(file.read_bytes())
        if not {"data", "methods", "cold"} <= found.keys():
            raise ValueError("methods or data are missing")  # noqa: TRY301  (one message for all that can be wrong)
    except (OSError, ValueError, AttributeError) as error:
        raise ArtefactError(f"{file}: is no report ({error}); write it with: aigq evaluate --out DIR") from None
    return found


@app.command(epilog="Example: aigq seeds var/experiment/seed-7/report var/experiment/seed-8/report --json")
def seeds(
    reports: Annotated[list[Path], typer.Argument(help="what aigq evaluate --out wrote, one a training seed")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON line at the end")] = False,
) -> None:
    """Show means over seeds, and the least and the most."""
    found = combined([read(path) for path in reports])
    table = Table("row", "seeds", *FIGURES, *COLD, title=f"{len(reports)} evaluations: mean [least, most]")
    for name, row in found.items():
        cells = [_cell(row.get(key)) for key in (*FIGURES, *COLD)]
        table.add_row(name, str(max(span["seeds"] for span in row.values())), *cells)
    Console(stderr=True).print(table)
    if as_json:
        typer.echo(orjson.dumps(found))


def _cell(span: Span | None) -> str:
    if span is None:
        return "-"
    if span["least"] == span["most"]:
        return f"{span['mean']:.3f}"
    return f"{span['mean']:.3f} [{span['least']:.3f}, {span['most']:.3f}]"
