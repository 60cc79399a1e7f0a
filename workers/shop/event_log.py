"""Collects the events of some shoppers and turns them into Arrow tables in the log contract."""

from collections.abc import Sequence
from typing import Any, Final

import pyarrow as pa

from workers.common.dataset import EVENT_SCHEMA
from workers.shop.click_model import Slot
from workers.shop.logging_policy import Served

TRUTH_SCHEMA: Final = pa.schema(
    [
        pa.field("request_id", pa.string(), nullable=False),
        pa.field("position", pa.int16(), nullable=False),
        pa.field("examine", pa.float64(), nullable=False),
        pa.field("attraction", pa.float64(), nullable=False),
        pa.field("p_click", pa.float64(), nullable=False),
    ]
)
_EVENT_ID: Final = 7
_PLAIN: Final = 12
"""Columns of a `Row` that are columns of the log."""
ARM: Final = "production"


Row = tuple[
    str,
    float,
    str,
    str | None,
    str | None,
    str | None,
    int | None,
    str | None,
    str | None,
    float | None,
    int | None,
    str | None,
    Served | None,
]
"""One event: the log's plain columns in order, then what was served (hint_served only)."""


class EventLog:
    """Rows in the order in which they happened, shopper by shopper."""

    __slots__ = ("rows", "session_id", "truth", "user_id")

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.truth: list[tuple[str, int, float, float, float]] = []
        self.user_id = ""
        self.session_id = ""

    def begin(self, user_id: str, session: int) -> None:
        """Say whose session follows."""
        self.user_id = user_id
        self.session_id = f"{user_id}-{session}"

    def search(self, ts: float, query: str) -> None:
        """Log a search."""
        self._add(ts, "search", query, None)

    def item(
        self, ts: float, kind: str, item_id: str, price: float, quantity: int | None = None, order_id: str | None = None
    ) -> None:
        """Log a click, a cart or a purchase."""
        self._add(ts, kind, None, item_id, None, None, price, quantity, order_id)

    def exposure(self, ts: float, request_id: str, served: Served, slots: list[Slot]) -> None:
        """Log what was served, and each slot as seen."""
        self._add(ts, "hint_served", None, None, request_id, None, None, None, None, served)
        for position, (query, slot) in enumerate(zip(served.queries, slots, strict=True)):
            self._add(ts, "hint_exposure", query, None, request_id, position)
            self.truth.append((request_id, position, slot.examine, slot.attraction, slot.click))

    def hint_click(self, ts: float, request_id: str, position: int, query: str) -> None:
        """Log a click on a hint."""
        self._add(ts, "hint_click", query, None, request_id, position)

    def _add(  # noqa: PLR0917  (the hottest call of the simulation; keywords would cost a third of it)
        self,
        ts: float,
        kind: str,
        query: str | None,
        item_id: str | None,
        request_id: str | None = None,
        position: int | None = None,
        price: float | None = None,
        quantity: int | None = None,
        order_id: str | None = None,
        served: Served | None = None,
    ) -> None:
        rows, user_id, session_id = self.rows, self.user_id, self.session_id
        rows.append(
            (
                user_id,
                round(ts, 3),
                kind,
                query,
                item_id,
                request_id,
                position,
                None,
                session_id,
                price,
                quantity,
                order_id,
                served,
            )
        )

    def events(self) -> pa.Table:
        """Return the rows as a table; event ids count within a shopper."""
        columns: list[Any] = [*zip(*self.rows, strict=True)] or [()] * (_PLAIN + 1)
        served: tuple[Served | None, ...] = columns.pop()
        columns[_EVENT_ID] = _event_ids(columns[0])
        rest: list[list[object]] = [
            [None if s is None else s.queries for s in served],
            [None if s is None else s.sources for s in served],
            [None if s is None else s.scores for s in served],
            [None if s is None else s.propensity for s in served],
            [None if s is None else ARM for s in served],
            [None if s is None else s.policy for s in served],
            [None if s is None else s.epsilon for s in served],
            [None if s is None else s.m for s in served],
        ]
        arrays = [
            pa.array(column, type=field.type) for column, field in zip([*columns, *rest], EVENT_SCHEMA, strict=True)
        ]
        return pa.Table.from_arrays(arrays, schema=EVENT_SCHEMA)

    def truth_table(self) -> pa.Table:
        """Return the true click probabilities as a table."""
        columns = [list(column) for column in zip(*self.truth, strict=True)] or [[] for _ in TRUTH_SCHEMA]
        arrays = [pa.array(column, type=field.type) for column, field in zip(columns, TRUTH_SCHEMA, strict=True)]
        return pa.Table.from_arrays(arrays, schema=TRUTH_SCHEMA)


def _event_ids(users: Sequence[str]) -> list[str]:
    ids: list[str] = []
    last, count = "", 0
    for user in users:
        count = count + 1 if user == last else 1
        last = user
        ids.append(f"{user}-e{count}")
    return ids
