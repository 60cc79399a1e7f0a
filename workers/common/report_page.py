"""A report as one HTML page that needs nothing else: tables, and plots as data URLs."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from jinja2 import Environment, PackageLoader, StrictUndefined

_PAGES: Final = Environment(loader=PackageLoader("workers.common", "."), autoescape=True, undefined=StrictUndefined)


class PageTable(Protocol):
    """A title, a sentence on how to read it (or none), column heads and rows of cells."""

    @property
    def title(self) -> str:
        """Heading."""

    @property
    def about(self) -> str:
        """What to know before reading; may be empty."""

    @property
    def heads(self) -> Sequence[str]:
        """Names of the columns."""

    @property
    def rows(self) -> Sequence[Sequence[str]]:
        """Cells; an address in one becomes a link."""


def render(
    title: str,
    intro: Sequence[str],
    tables: Sequence[PageTable],
    plots: Mapping[str, bytes],
    captions: Mapping[str, str],
) -> str:
    """Return the page; `plots` holds PNG bytes by a name in `captions`. All text is escaped."""
    figures: list[dict[str, Any]] = [
        {"caption": captions[name], "png": base64.b64encode(png).decode()} for name, png in plots.items()
    ]
    page = _PAGES.get_template("report_page.html")
    return page.render(title=title, intro=intro, tables=tables, figures=figures)
