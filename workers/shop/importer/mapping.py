"""A mapping file: what a shop calls the fields of the log contract (`configs/import/<name>.toml`, docs/import.md)."""

import hashlib
import tomllib
from pathlib import Path
from typing import Final, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from service.contracts.errors import ConfigError
from service.contracts.events import EVENT_TYPES

Kind = Literal["id", "text", "number", "time", "bool", "json", "list"]
"""What a field holds, so which values of a file may stand for it."""

SERVED: Final = "hint_served"
TYPES: Final = (*EVENT_TYPES, SERVED)
IGNORE: Final = "ignore"
EPOCH_UNITS: Final = {"epoch_s": 1.0, "epoch_ms": 1e3, "epoch_us": 1e6, "epoch_ns": 1e9}
"""Units a second."""

EVENT_FIELDS: Final[dict[str, Kind]] = {
    "user_id": "id",
    "ts": "time",
    "type": "text",
    "query": "text",
    "item_id": "id",
    "request_id": "id",
    "position": "number",
    "event_id": "id",
    "session_id": "id",
    "price": "number",
    "quantity": "number",
    "order_id": "id",
    "queries": "list",
    "sources": "list",
    "scores": "list",
    "propensity": "list",
    "arm": "id",
    "policy": "id",
    "epsilon": "number",
    "m": "number",
}
ITEM_FIELDS: Final[dict[str, Kind]] = {
    "item_id": "id",
    "title": "text",
    "category": "text",
    "brand": "text",
    "price": "number",
    "seller_id": "id",
    "attributes": "json",
}
PROFILE_FIELDS: Final[dict[str, Kind]] = {
    "user_id": "id",
    "segment": "text",
    "budget": "text",
    "region": "text",
    "locale": "text",
    "consent": "bool",
}
_SEPARATOR: Final = {"category": " > "}


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TimeFormat(_Section):
    """How `ts` is written."""

    format: str = Field("auto", description="auto (RFC 3339 or epoch seconds), epoch_ms, epoch_us, epoch_ns, strptime")
    zone: str = Field("UTC", description="zone of times without an offset")

    @field_validator("format")
    @classmethod
    def _known(cls, value: str) -> str:
        if value != "auto" and value not in EPOCH_UNITS and "%" not in value:
            raise ValueError(f"must be auto, {', '.join(EPOCH_UNITS)}, or a strptime format such as %d/%m/%Y %H:%M")
        return value

    @field_validator("zone")
    @classmethod
    def _exists(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (OSError, ValueError, ZoneInfoNotFoundError):
            raise ValueError(f"{value!r} is no time zone; for example Europe/Berlin") from None
        return value


class TableMapping(_Section):
    """Our field -> their column, or several that are joined; a field that is not named has our name, if there."""

    columns: dict[str, str | list[str]] = Field(default={}, description='"" leaves a column of our name out')
    constants: dict[str, str] = Field(default={}, description="the field's value in every line")
    delimiter: str = Field(",", min_length=1, max_length=1, description="of CSV; a .tsv file has tabs")

    def sources(self, field: str) -> list[str]:
        """Return the columns that make up a field."""
        named = self.columns.get(field, field)
        return [named] * bool(named) if isinstance(named, str) else named

    @staticmethod
    def separator(field: str) -> str:
        """Return what several columns of a field are joined with."""
        return _SEPARATOR.get(field, " ")

    def named(self) -> set[str]:
        """Return the columns that the file names, so which must exist."""
        return {column for field in self.columns for column in self.sources(field)}


class EventsMapping(TableMapping):
    """The log."""

    types: dict[str, str] = Field(default={}, description='their type -> ours, or "ignore"')
    time: TimeFormat = TimeFormat()
    pseudo_query: Literal["category_leaf"] | None = Field(
        None, description="logs without searches: the last category level of what is bought next stands for a query"
    )

    @field_validator("types")
    @classmethod
    def _ours(cls, value: dict[str, str]) -> dict[str, str]:
        wrong = sorted(set(value.values()) - {*TYPES, IGNORE})
        if wrong:
            raise ValueError(f"{', '.join(wrong)}: not a type; there are {', '.join(TYPES)} and {IGNORE}")
        return value


class Mapping(_Section):
    """One mapping file. Without one, the contract's own names apply."""

    name: str = "contract"
    events: EventsMapping = EventsMapping()
    items: TableMapping = TableMapping()
    profiles: TableMapping = TableMapping()

    @model_validator(mode="after")
    def _fields_exist(self) -> Self:
        tables = ((self.events, EVENT_FIELDS), (self.items, ITEM_FIELDS), (self.profiles, PROFILE_FIELDS))
        for (table, fields), name in zip(tables, ("events", "items", "profiles"), strict=True):
            unknown = sorted({*table.columns, *table.constants} - set(fields))
            if unknown:
                raise ValueError(f"{name}: {', '.join(unknown)}: no such field; there are {', '.join(fields)}")
        return self

    @classmethod
    def load(cls, path: Path | None) -> Self:
        """Return the mapping in the file `path`, or the contract's own names.

        Raises:
            ConfigError: the file is missing, or a key is wrong.
        """
        if path is None:
            return cls()
        try:
            return cls.model_validate({"name": path.stem} | tomllib.loads(path.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, ValidationError) as error:
            raise ConfigError(f"{path}: {error}") from None

    def digest(self) -> str:
        """Return a digest of what the mapping says, for the manifest."""
        return hashlib.blake2b(self.model_dump_json().encode(), digest_size=8).hexdigest()
