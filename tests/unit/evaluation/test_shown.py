"""Shoppers drawn by lot, for people to judge."""

import io

import pytest
from rich.console import Console
from rich.table import Table

from tests.unit.evaluation.shops import CUT, DAY
from workers.evaluation.cases import Act, Case, Item, Split
from workers.evaluation.measure import Suggested
from workers.evaluation.metrics import SHOWN
from workers.evaluation.shown import DID, drawn, lines


@pytest.fixture
def crowd() -> Split:
    """Return a split of twenty cases: the first knows nothing, the others have a history and a target of their own."""
    acts = [Act("search", CUT - 2 * DAY, "tent"), Act("click", CUT - 7200, "i1"), Act("cart", CUT - 600, "gone")]
    cases = [Case("u0", {}, (), ("tent",))]
    cases += [Case(f"u{n}", {"locale": "en-US"}, [*acts] * 4, (f"lamp {n}", "tent")) for n in range(1, 20)]
    return Split(CUT, [], [], cases, {"i1": Item("Acme lamp", "Lamps", "")})


def _suggested(split: Split) -> dict[str, Suggested]:
    lists = [[f"lamp {n}", *"abcdefgh"] for n in range(len(split.test))]
    return {"popular": Suggested(lists, lists), "aigq": Suggested(lists, [[] for _ in lists])}


def test_the_same_seed_draws_the_same_shoppers(crowd: Split) -> None:
    """In the order of the cases, each once, and no more than there are."""
    drawings = [[one["user_id"] for one in drawn(_suggested(crowd), crowd, 5, seed)] for seed in (1, 1, 2)]
    assert drawings[0] == drawings[1] != drawings[2]
    assert len(set(drawings[0])) == 5
    assert sorted(drawings[0], key=lambda user: int(user[1:])) == drawings[0]
    assert len(drawn(_suggested(crowd), crowd, 100, 1)) == 20


def test_what_is_told_of_a_shopper(crowd: Split) -> None:
    """The latest acts in words, six suggestions with hits marked, and the next searches with those made before."""
    nobody, somebody = drawn(_suggested(crowd), crowd, 20, 1)[:2]
    assert dict(lines(nobody))["did"] == "(nothing is known)"
    told = dict(lines(somebody))
    did = told["did"].splitlines()
    assert len(did) == DID
    assert did[-3:] == ["2 d ago searched tent", "2 h ago looked at Acme lamp", "10 min ago put in the cart gone"]
    assert told["popular"].split(" · ") == ["✓ lamp 1", *"abcdefgh"[: SHOWN - 1]]
    assert told["aigq"] == "(nothing)"
    assert told["searched next"] == "lamp 1 · tent (as before)"


def test_a_narrow_terminal_shows_every_word(crowd: Split) -> None:
    """Lines are folded, not cut."""
    console = Console(file=io.StringIO(), width=60)
    table = Table("", "list")
    for line in lines(drawn(_suggested(crowd), crowd, 20, 1)[1]):
        table.add_row(*line)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    printed = console.file.getvalue()
    assert all(word in printed for word in ("✓ lamp 1", "Acme", "(as before)"))
    assert "…" not in printed
