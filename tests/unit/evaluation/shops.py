"""Tiny datasets in which it is known what comes next."""

from collections.abc import Mapping, Sequence
from itertools import count, islice
from pathlib import Path
from typing import Any

import polars as pl

from workers.common.dataset import EVENT_SCHEMA, ITEM_SCHEMA, ITEMS, PROFILES, Dataset, DatasetWriter
from workers.common.split import Part, part_of

DAY = 86400.0
END = 1_800_000_000.0
START = END - 30 * DAY
CUT = END - 5 * DAY
"""`split.cut_off` leaves the last sixth of the thirty days."""
MANIFEST = {"source": "test", "from": "2026-12-16T08:00:00+00:00", "to": "2027-01-15T08:00:00+00:00"}
JOURNEYS = (
    ("tent", "camping stove", "sleeping bag"),
    ("baby monitor", "diapers", "baby wipes"),
    ("desk lamp", "office chair", "monitor arm"),
    ("dog leash", "dog food", "dog bed"),
)
"""What shoppers search, one after the other."""

Event = tuple[str, float, str, str]
"""user id, seconds after `START`, type, and query or item id."""


def users(part: Part, number: int) -> list[str]:
    """Return the first `number` user ids that fall into `part`."""
    return list(islice((f"u{n}" for n in count() if part_of(f"u{n}") == part), number))


def write(
    root: Path,
    events: Sequence[Event],
    profiles: Sequence[Mapping[str, Any]] = (),
    items: Sequence[tuple[str, str, str | None]] = (),
    manifest: Mapping[str, Any] = MANIFEST,
) -> Dataset:
    """Write a dataset and open it."""
    rows = [
        {
            "user_id": user,
            "ts": START + after,
            "type": kind,
            "query": ref if kind in {"search", "hint_click"} else None,
            "item_id": None if kind in {"search", "hint_click"} else ref,
        }
        for user, after, kind, ref in sorted(events)
    ]
    blank = dict.fromkeys(EVENT_SCHEMA.names)
    import pyarrow as pa  # noqa: PLC0415

    with DatasetWriter(root, overwrite=True) as writer:
        writer.write_events(0, pa.Table.from_pylist([{**blank, **row} for row in rows], schema=EVENT_SCHEMA))
        known = [{"item_id": item_id, "title": title, "category": category} for item_id, title, category in items]
        writer.write(ITEMS, pa.Table.from_pylist(known, schema=ITEM_SCHEMA))
        fields = {name: pl.Boolean if name == "consent" else pl.String for row in profiles for name in row}
        frame = pl.DataFrame(list(profiles), schema=fields or {"user_id": pl.String})
        writer.write(PROFILES, frame.to_arrow())
        writer.close(manifest)
    return Dataset(root)


def journeys(root: Path, shoppers: int = 40) -> Dataset:
    """Write a shop of shoppers on journeys: learners walk them to the end, cases stand in the middle.

    Every fifth case is cold: nothing is known of it, and it searches what most shoppers search first.
    """
    events: list[Event] = []
    profiles: list[dict[str, Any]] = []
    parts: tuple[Part, ...] = ("train", "validation", "test")
    for part in parts:
        for number, user in enumerate(users(part, shoppers)):
            journey = JOURNEYS[number % len(JOURNEYS)]
            kind = f"segment {number % len(JOURNEYS)}"
            profiles.append({"user_id": user, "segment": kind, "locale": "en-US", "consent": True})
            if part == "train":
                events += [(user, (5.0 + step) * DAY, "search", query) for step, query in enumerate(journey)]
                events.append((user, 6.5 * DAY, "click", f"{journey[1]}-item"))
            elif number % 5 == 0:
                events.append((user, 27.0 * DAY, "search", journey[0]))
            else:
                events += [(user, 20.0 * DAY, "search", journey[0]), (user, 27.0 * DAY, "search", journey[1])]
    items = [(f"{query}-item", f"Acme {query}", f"All > {journey[0]}") for journey in JOURNEYS for query in journey]
    return write(root, events, profiles, items)
