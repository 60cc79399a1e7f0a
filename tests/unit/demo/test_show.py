"""What the demo prints: every source of hints and every figure has its words."""

import io
from typing import get_args

from rich.console import Console

from service.contracts.hints import Source
from service.ranking.catalogue import Catalogue
from workers.demo import show
from workers.demo.sample import SampleShopper
from workers.demo.story import Scene, Story

_CLICK = {"type": "click", "item_id": "gone"}


def _scene() -> Scene:
    hints = [{"source": source, "query": f"tent by {source}"} for source in get_args(Source)]
    shopper = SampleShopper("u1", {"segment": "campers"}, [{"type": "search", "query": "lamp"}], _CLICK)
    return Scene(shopper, before=hints, after_click=hints, after_refresh=hints, refresh_s=1.0)


def test_a_hint_of_any_source_is_shown_apart_from_its_source(catalogue: Catalogue) -> None:
    """The longest name too; none is unknown."""
    told = io.StringIO()
    show.scene(Console(file=told, width=140), _scene(), catalogue)
    show.legend(Console(file=told, width=140))
    for source in get_args(Source):
        assert f"{source:<9}tent by {source}" in told.getvalue()
        assert f"\n  {source:<9}" in told.getvalue()


def test_every_figure_says_what_it_is(catalogue: Catalogue) -> None:
    """And hints of all sources are counted."""
    story = Story("http://127.0.0.1:9", [])
    story.scenes.append(_scene())
    summary = story.summary([1.0, 2.0], 3)
    sources = ("u2q", "x2q", "fallback")
    assert sum(summary[f"hints_from_{one}"] for one in sources) == 2 * len(get_args(Source))
    told = io.StringIO()
    show.figures(Console(file=told, width=140), summary)
    assert len(told.getvalue().strip().splitlines()) == len(summary)
