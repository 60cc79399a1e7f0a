"""Every line is accepted, rejected for a reason, or a duplicate: counts of them, and the file of rejected lines."""

from collections import Counter
from dataclasses import dataclass, field
from typing import IO, Any, Final

import orjson
import polars as pl

from workers.shop.importer.readers import Chunk

IGNORED: Final = "type_ignored"
"""The one reason that the mapping asked for: it is counted, but no failure, and not written aside."""

REASONS: Final = {
    IGNORED: "the mapping says so",
    "blank": "nothing in it",
    "line_too_long": "over one megabyte",
    "not_json": "not JSON in UTF-8",
    "not_an_object": "JSON, but no object",
    "not_utf8": "not UTF-8",
    "broken_quotes": "a quote is not closed on its line, or a value is over 128 KB",
    "column_count": "not as many values as columns",
    "wrong_type": "a list, map, truth value or number of over 53 bits where the field cannot hold one",
    "ts_invalid": "no time between 1970 and 9999 in the mapping's format (milliseconds? say epoch_ms)",
    "ts_future": "later than now",
    "type_unknown": "a type that is neither ours nor in the mapping",
    "query_too_long": "over 200 characters",
    "query_empty": "nothing left once control characters are gone",
    "position_invalid": "not a whole number from 0 to 99",
    "price_invalid": "not a number from 0",
    "quantity_invalid": "not a whole number from 1 to 1,000,000",
    "served_invalid": "lists of other lengths or contents than one entry a slot",
    "title_empty": "nothing left once control characters are gone",
    "attributes_invalid": "not a JSON map, or nested over 250 deep",
    "consent_invalid": "not true or false",
}
"""What reasons mean; `<field>_missing` and `<field>_invalid` (an id) speak for themselves."""

_EXCERPT: Final = 160
_ID_INVALID: Final = "not 1 to 128 printable characters without spaces at the ends"


@dataclass(frozen=True, slots=True)
class First:
    """The first line that was rejected for some reason."""

    file: str
    line: int
    text: str


@dataclass(slots=True)
class Tally:
    """Lines of one table (events, items or profiles)."""

    table: str
    lines: int = 0
    accepted: int = 0
    duplicates: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    first: dict[str, First] = field(default_factory=dict)

    @property
    def faulty(self) -> int:
        """Lines rejected for other reasons than that the mapping asked for it."""
        return self.rejected.total() - self.rejected[IGNORED]

    @property
    def share(self) -> float:
        """Share of faulty lines among those that were not ignored."""
        return self.faulty / max(1, self.lines - self.rejected[IGNORED])

    def balanced(self) -> bool:
        """Whether each line that came in is accounted for."""
        return self.lines == self.accepted + self.duplicates + self.rejected.total()

    def summary(self) -> dict[str, Any]:
        """Return the counts for the manifest."""
        return {
            "lines": self.lines,
            "accepted": self.accepted,
            "duplicates": self.duplicates,
            "rejected": self.rejected.total(),
            "reasons": dict(sorted(self.rejected.items())),
        }

    def explain(self) -> list[str]:
        """Return a line for each reason: how often, what it means, and the first one."""
        said = []
        for reason, count in sorted(self.rejected.items(), key=lambda pair: (-pair[1], pair[0])):
            meaning = REASONS.get(reason, _ID_INVALID if reason.endswith("_invalid") else "")
            first = self.first[reason]
            text = f": {first.text}" if first.text else ""
            said.append(
                f"{self.table}: {count:,} {reason}{f' ({meaning})' if meaning else ''}; "
                f"first at {first.file}:{first.line}{text}"
            )
        return said


class Rejects:
    """Counts a chunk's rejected lines and writes them aside as JSON lines: table, file, line, reason, text."""

    def __init__(self, file: IO[bytes], *, with_text: bool) -> None:
        """`with_text` is false where the text must not be kept, since it names shoppers."""
        self._file = file
        self._with_text = with_text

    def take(self, tally: Tally, chunk: Chunk, reasons: pl.Series) -> None:
        """Count the lines of `chunk`; `reasons` is null where a line is sound."""
        tally.lines += chunk.frame.height
        lines = chunk.frame["line"]
        for index in reasons.is_not_null().arg_true():
            reason = str(reasons[index])
            tally.rejected[reason] += 1
            is_first = reason not in tally.first
            text = chunk.raw(index) if self._with_text and (is_first or reason != IGNORED) else ""
            if is_first:
                tally.first[reason] = First(chunk.file, lines[index], _excerpt(text))
            if reason != IGNORED:
                entry = {"table": tally.table, "file": chunk.file, "line": lines[index], "reason": reason}
                self._file.write(orjson.dumps(entry | ({"text": text} if self._with_text else {})) + b"\n")


def _excerpt(text: str) -> str:
    """Return what of a line may go to a terminal: printable, and not long."""
    shown = "".join(character if character.isprintable() else "�" for character in text[: _EXCERPT + 1])
    return shown if len(shown) <= _EXCERPT else shown[:_EXCERPT] + "…"
