"""A shop of campers, in which it is known what goes with what."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from service.ranking.inverted_index import InvertedIndex
from tests.unit.evaluation.shops import CUT, DAY, START, Event, users, write
from workers.common.dataset import Dataset
from workers.common.item_text import texts
from workers.common.learning import anonymity_floor, read_events
from workers.think.evidence import Logs

TENTS, STOVES, BAGS, LAMPS, TOYS = (
    f"Outdoors > {name}" for name in ("Tents", "Stoves", "Sleeping Bags", "Lamps", "Toys")
)
ITEMS = [
    ("tent", "Dome Tent", TENTS),
    ("stove", "Camping Stove", STOVES),
    ("bag", "Warm Sleeping Bag", BAGS),
    ("lamp", "Desk Lamp", LAMPS),
    ("toy", "Wooden Toy", TOYS),
]
RARE = "tent for my boss"
LATE = "dome tent sale"


def camping(root: Path) -> Dataset:
    """Write it: forty campers open a tent, buy it with a stove, look for bags and stoves; others want toys or lamps.

    One searches what nobody else does; all search something new after the cut-off, as do shoppers who are held out.
    """
    events: list[Event] = []
    campers = [*users("train", 60)[:40], *users("test", 30)]
    for number, user in enumerate(campers):
        at = (3.0 + number % 9) * DAY
        if number >= 40:
            events += [(user, at + step, "search", "secret bivouac") for step in (1.0, 2.0)]
            continue
        events += [
            (user, at, "search", "Dome  Tent"),
            (user, at + 60, "click", "tent"),
            (user, at + 120, "purchase", "tent"),
            (user, at + 180, "purchase", "stove"),
            (user, at + 3600, "search", "sleeping bag"),
            (user, at + 3660, "click", "bag"),
            (user, at + 7200, "search", "camping stove"),
            (user, at + 7260, "click", "stove"),
            (user, CUT - START + DAY, "search", LATE),
        ]
    for number, user in enumerate(users("train", 60)[40:]):
        wanted = ("toy", "wooden toy") if number % 2 else ("lamp", "desk lamp")
        events += [(user, 4 * DAY, "search", wanted[1]), (user, 4 * DAY + 60, "click", wanted[0])]
    events.append((campers[0], 4 * DAY, "search", RARE))
    profiles = [{"user_id": user, "segment": "campers", "consent": True} for user in campers]
    return write(root, events, profiles, ITEMS)


@contextmanager
def logs_of(dataset: Dataset, folder: Path) -> Iterator[Logs]:
    """Count a dataset."""
    events, items = read_events(dataset), dataset.items().sort("item_id")
    InvertedIndex.write(folder / "words.mdb", texts(items, events), items["category"].fill_null("").to_list())
    index = InvertedIndex.open(folder / "words.mdb")
    segments = dataset.profiles().select("user_id", "segment").filter(pl.col("segment") != "")
    yield Logs(events, items, segments, index, anonymity_floor(dataset))
    index.close()
