"""One HTML page that needs nothing else: tables, and plots as data URLs."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from workers.evaluation.plots import CAPTIONS
from workers.evaluation.tables import Table

_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 66rem; margin: 2rem auto; padding: 0 1rem; color: #1d2433 }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
table { border-collapse: collapse; width: 100%; font-size: .87rem }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid #dfe3ea;
  white-space: pre-line }
figure { display: inline-block; margin: .6rem .6rem 0 0; width: 31rem; max-width: 100% }
img { width: 100% } figcaption { color: #5b6475; font-size: .85rem }
"""


def render(title: str, intro: Sequence[str], tables: Sequence[Table], plots: Mapping[str, bytes]) -> str:
    """Return the page; `plots` holds PNG bytes by a name in `CAPTIONS`."""
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        *(f"<p>{escape(paragraph)}</p>" for paragraph in intro),
        *(_figure(name, png) for name, png in plots.items()),
        *map(_table, tables),
        "</body></html>\n",
    ]
    return "\n".join(parts)


def _figure(name: str, png: bytes) -> str:
    source = base64.b64encode(png).decode()
    caption = escape(CAPTIONS[name])
    image = f'<img alt="{caption}" src="data:image/png;base64,{source}">'
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"


def _table(table: Table) -> str:
    heads = "".join(f"<th>{escape(head)}</th>" for head in table.heads)
    rows = "\n".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in table.rows)
    about = f"<p>{escape(table.about)}</p>\n" if table.about else ""
    body = f"<table><thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody></table>"
    return f"<h2>{escape(table.title)}</h2>\n{about}{body}"
