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
WIDTH: Final = 140
"""Columns where the output is not a terminal."""
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
        if not {"data", "methods", "cold", "tuned"} <= found.keys():
            raise ValueError("methods or data are missing")  # noqa: TRY301  (one message for all that can be wrong)
    except (OSError, ValueError, AttributeError) as error:
        raise ArtefactError(f"{file}: is no report ({error}); write it with: aigq evaluate --out DIR") from None
    return found


@app.command(epilog="Example: aigq seeds var/experiment/seed-7/report var/experiment/seed-8/report --pairs il_sft:sft")
def seeds(
    reports: Annotated[list[Path], typer.Argument(help="what aigq evaluate --out wrote, one a training seed")],
    *,
    pairs: Annotated[
        list[str] | None, typer.Option(help="A:B, the ratio of two rows with its interval; repeatable")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31, help="of the bootstrap")] = 7,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON line at the end")] = False,
) -> None:
    """Show means over seeds, the least and the most, and rows compared case by case with 95% intervals."""
    from workers.evaluation import by_case, pooled  # noqa: PLC0415  (so that --help is fast)

    wanted = pooled.parse_pairs(pairs or [])
    read_reports = [read(path) for path in reports]
    found: dict[str, Any] = {"rows": combined(read_reports)}
    known = [by_case.read_hits(path if path.is_dir() else path.parent) for path in reports]
    hits = [one for one in known if one is not None]
    if len(hits) == len(known):
        tuned = list(dict.fromkeys(name for one in read_reports for name in one["tuned"]))
        found["paired"] = pooled.pooled(by_case.averaged(hits), tuned, wanted, seed)
    elif wanted:
        raise ArtefactError(f"a report has no {by_case.FILE} beside it; write it with: aigq evaluate --out DIR")
    console = Console(stderr=True)
    console = console if console.is_terminal else Console(stderr=True, width=WIDTH)
    for table in _tables(found, len(reports)):
        console.print(table)
    if as_json:
        typer.echo(orjson.dumps(found))


def _tables(found: Mapping[str, Any], reports: int) -> list[Table]:
    spans = Table("row", "seeds", *FIGURES, *COLD, title=f"{reports} evaluations: mean [least, most]")
    for name, row in found["rows"].items():
        cells = [_cell(row.get(key)) for key in (*FIGURES, *COLD)]
        spans.add_row(name, str(max(span["seeds"] for span in row.values())), *cells)
    if "paired" not in found:
        return [spans]
    paired: Mapping[str, Any] = found["paired"]
    heads = [f"{view} / {one['best_baseline']} ({one['cases']:,})" for view, one in paired.items()]
    caption = "HR@6, hits of a case averaged over the seeds; 95% intervals, paired by case."
    ratios = Table("row", *heads, title="Over the best baseline", caption=caption)
    for name in found["rows"]:
        ratios.add_row(name, *(_ratio(one["methods"].get(name, {}).get("vs_best")) for one in paired.values()))
    between = Table("row:row", *paired, title="The first row's HR@6 over the second's", caption=caption)
    for pair in paired["all"]["pairs"]:
        between.add_row(pair, *(_ratio(one["pairs"].get(pair)) for one in paired.values()))
    return [spans, ratios, *([between] if between.row_count else [])]


def _ratio(found: Mapping[str, Any] | None) -> str:
    if found is None or found["ci"] is None:
        return "-"
    low, high = found["ci"]
    return f"{found['ratio']:.2f} [{low:.2f}, {high:.2f}]"


def _cell(span: Span | None) -> str:
    if span is None:
        return "-"
    if span["least"] == span["most"]:
        return f"{span['mean']:.3f}"
    return f"{span['mean']:.3f} [{span['least']:.3f}, {span['most']:.3f}]"
