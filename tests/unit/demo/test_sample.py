"""The demo's shoppers: real histories, moved to now, that the service will take."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from service.contracts.errors import ArtefactError
from service.contracts.events import EVENT
from workers.common.dataset import EVENT_SCHEMA, ITEM_SCHEMA, PROFILE_SCHEMA, DatasetWriter
from workers.demo.sample import choose

NOW = 1_800_000_000.0
LOGGED = 1_790_000_000.0


def write(root: Path, shoppers: int, *, consent: bool = True) -> Path:
    """Write a dataset in which each shopper searches twice and ends with a click."""
    events: list[dict[str, Any]] = []
    for user in range(shoppers):
        steps = [
            ("search", "tent"),
            ("click", "i1"),
            ("cart", "i1"),
            ("search", "stove"),
            ("click", "i2"),
            ("search", "x"),
        ]
        for index, (kind, ref) in enumerate(steps):
            field = "query" if kind == "search" else "item_id"
            events.append({"user_id": f"u{user}", "ts": LOGGED + 86400 * index, "type": kind, field: ref})
    with DatasetWriter(root) as writer:
        writer.write_events(0, pa.Table.from_pylist(events, EVENT_SCHEMA))
        writer.write("items.parquet", pa.Table.from_pylist([{"item_id": "i1", "title": "Tent"}], ITEM_SCHEMA))
        profiles = [{"user_id": f"u{user}", "segment": "campers", "consent": consent} for user in range(shoppers)]
        writer.write("profiles.parquet", pa.Table.from_pylist(profiles, PROFILE_SCHEMA))
        writer.close({})
    return root


def test_history_ends_before_now_and_the_click_comes_next(tmp_path: Path) -> None:
    """What was logged long ago happened just now, in the same order and with the same gaps."""
    (shopper,) = choose(write(tmp_path / "data", 1), 1, NOW)
    times = [event["ts"] for event in shopper.history]
    assert times == sorted(times)
    assert max(times) < NOW
    assert times[1] - times[0] == pytest.approx(86400)
    assert shopper.click["item_id"] == "i2"
    assert "ts" not in shopper.click
    assert shopper.profile == {"segment": "campers"}


def test_the_service_takes_every_event(tmp_path: Path) -> None:
    """Each event satisfies the contract of POST /v1/events."""
    for shopper in choose(write(tmp_path / "data", 3), 3, NOW):
        for event in (*shopper.history, shopper.click):
            EVENT.validate_python(event)


def test_too_few_shoppers_is_an_error_that_says_so(tmp_path: Path) -> None:
    """The message has both numbers."""
    with pytest.raises(ArtefactError, match="only 2 of 5"):
        choose(write(tmp_path / "data", 2), 5, NOW)


def test_shoppers_without_consent_are_not_shown(tmp_path: Path) -> None:
    """They have asked not to be personalised."""
    with pytest.raises(ArtefactError, match="only 0 of 1"):
        choose(write(tmp_path / "data", 2, consent=False), 1, NOW)
