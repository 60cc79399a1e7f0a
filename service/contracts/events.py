"""Behaviour events: what front ends post, what the stream carries, what logs hold (DESIGN section 3)."""

import time
import uuid
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter

from service.contracts.codecs import BehaviourEntry
from service.contracts.text import MAX_ID_CHARS, MAX_QUERY_CHARS, clean

EventType = Literal["search", "click", "cart", "purchase", "hint_exposure", "hint_click"]
EVENT_TYPES: tuple[str, ...] = get_args(EventType)
MAX_BATCH = 500
_EPOCH_LIMIT = 253402300800.0  # year 10000, where datetime ends


def _query(value: object) -> object:
    """Clean before measuring, so that only what would be kept counts."""
    if not isinstance(value, str):
        return value
    if len(value) > MAX_QUERY_CHARS * 4:
        raise ValueError(f"query has {len(value)} characters, at most {MAX_QUERY_CHARS} are allowed")
    cleaned = clean(value)
    if not cleaned:
        raise ValueError("query is empty once control characters are removed")
    if len(cleaned) > MAX_QUERY_CHARS:
        raise ValueError(f"query has {len(cleaned)} characters, at most {MAX_QUERY_CHARS} are allowed")
    return cleaned


def _identifier(value: object) -> object:
    if not isinstance(value, str):
        return value
    if not 1 <= len(value) <= MAX_ID_CHARS:
        raise ValueError(f"must have 1 to {MAX_ID_CHARS} characters, has {len(value)}")
    if not value.isprintable() or value != value.strip():
        raise ValueError("must not hold control characters, surrogates, or spaces at its ends")
    return value


def parse_timestamp(value: object) -> float:
    """Return epoch seconds from epoch seconds or an RFC 3339 string (a string without offset is UTC).

    Raises:
        ValueError: neither of the two, or not a time that exists.
    """
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            raise ValueError("ts must be epoch seconds or RFC 3339, for example 2026-11-23T08:00:00Z") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("ts must be epoch seconds or an RFC 3339 string")  # noqa: TRY004  (pydantic wants it)
    if not 0 <= value < _EPOCH_LIMIT:  # false for NaN too
        raise ValueError("ts is not a time between 1970 and 9999 (seconds, not milliseconds?)")
    return float(value)


UserId = Annotated[str, BeforeValidator(_identifier), Field(json_schema_extra={"maxLength": MAX_ID_CHARS})]
Identifier = Annotated[str, BeforeValidator(_identifier), Field(json_schema_extra={"maxLength": MAX_ID_CHARS})]
Query = Annotated[str, BeforeValidator(_query), Field(json_schema_extra={"maxLength": MAX_QUERY_CHARS})]
Timestamp = Annotated[
    float,
    BeforeValidator(parse_timestamp),
    Field(default_factory=time.time, description="epoch seconds or RFC 3339; default: when the service got it"),
]


class _Action(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    ts: Timestamp
    session_id: Identifier | None = None

    def behaviour(self) -> BehaviourEntry | None:
        """Return what the shopper's recent behaviour keeps of this; None for what says nothing of intent."""
        raise NotImplementedError


class SearchAction(_Action):
    """The shopper searched."""

    type: Literal["search"]
    query: Query

    def behaviour(self) -> BehaviourEntry:
        """Return the query."""
        return BehaviourEntry(self.type, self.ts, self.query)


class ItemAction(_Action):
    """The shopper opened, put into the cart, or bought an item."""

    type: Literal["click", "cart", "purchase"]
    item_id: Identifier
    price: float | None = Field(None, ge=0, allow_inf_nan=False)
    quantity: int | None = Field(None, ge=1, le=1_000_000)
    order_id: Identifier | None = None

    def behaviour(self) -> BehaviourEntry:
        """Return the item."""
        return BehaviourEntry(self.type, self.ts, self.item_id)


class HintAction(_Action):
    """A hint was seen or clicked; `request_id` is the one that the hints came with."""

    type: Literal["hint_exposure", "hint_click"]
    query: Query
    request_id: Identifier
    position: int = Field(ge=0, lt=100)

    def behaviour(self) -> BehaviourEntry | None:
        """Return the query of a click; an exposure alone says nothing of intent."""
        return BehaviourEntry(self.type, self.ts, self.query) if self.type == "hint_click" else None


Action = Annotated[SearchAction | ItemAction | HintAction, Field(discriminator="type")]


class _Owned(BaseModel):
    user_id: UserId
    event_id: Identifier = Field(default_factory=lambda: uuid.uuid4().hex, description="for removing duplicates")


class SearchEvent(_Owned, SearchAction):
    """A search by a known shopper."""


class ItemEvent(_Owned, ItemAction):
    """An action on an item by a known shopper."""


class HintEvent(_Owned, HintAction):
    """A hint seen or clicked by a known shopper."""


Event = Annotated[SearchEvent | ItemEvent | HintEvent, Field(discriminator="type")]
EVENT: TypeAdapter[SearchEvent | ItemEvent | HintEvent] = TypeAdapter(Event)


def log_line(event: SearchEvent | ItemEvent | HintEvent) -> dict[str, Any]:
    """Return the event as a log line: the contract's fields, absent ones left out."""
    return event.model_dump(exclude_none=True)
