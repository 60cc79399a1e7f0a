"""From files to chunks of lines: JSON lines, CSV and Parquet look alike behind this module.

A line that cannot be read stays in its chunk, with the reason. A CSV record is one line: an unclosed quote then costs
one line, not the rest of the file.
"""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from service.contracts.errors import ArtefactError, ConfigError
from workers.shop.importer.mapping import Kind, TableMapping
from workers.shop.importer.values import Record, to_frame

LINES_PER_CHUNK: Final = 50_000
MAX_LINE_BYTES: Final = 1 << 20
_CHUNK_BYTES: Final = 1 << 25
_BOM: Final = b"\xef\xbb\xbf"
_JSON: Final = {".jsonl", ".ndjson", ".json"}
_CSV: Final = {".csv", ".tsv"}
_COMPRESSED: Final = {".gz", ".bz2", ".zst"}


class _UnreadableError(Exception):
    """A line is no record; the message is the reason (a bounded label)."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some lines of one file.

    `frame` has `line` (counted from 1), `reason` (null unless unreadable) and each field of the table as text.
    """

    file: str
    frame: pl.DataFrame
    raw: Callable[[int], str]
    """Return the line at an index of `frame` as it was."""


def read(
    path: Path, mapping: TableMapping, fields: Mapping[str, Kind], advance: Callable[[int], None]
) -> Iterator[Chunk]:
    """Yield the chunks of a file, whose format its name tells; `advance` hears of bytes read.

    Raises:
        ArtefactError: the file is missing, damaged or of an unknown format.
        ConfigError: the mapping names a column that the file does not have.
    """
    suffix = next((suffix for suffix in reversed(path.suffixes) if suffix not in _COMPRESSED), "")
    try:
        if suffix == ".parquet":
            yield from _parquet(path, mapping, fields, advance)
        elif suffix in _JSON | _CSV:
            yield from _lines(path, suffix, mapping, fields, advance)
        else:
            formats = ", ".join(sorted(_JSON | _CSV | {".parquet"}))
            raise ArtefactError(
                f"{path}: unknown format; the name must end in {formats} (or these and .gz, .bz2, .zst)"
            )
    except (OSError, pa.ArrowException, ValueError, OverflowError) as error:
        raise ArtefactError(f"{path}: cannot be read: {error}") from error


def _lines(
    path: Path, suffix: str, mapping: TableMapping, fields: Mapping[str, Kind], advance: Callable[[int], None]
) -> Iterator[Chunk]:
    with path.open("rb") as file, pa.input_stream(file, compression=_compression(path)) as unpacked:
        stream = io.BufferedReader(unpacked, 1 << 20)
        parse: Callable[[bytes], Record] = _json
        number = 0
        if suffix in _CSV:
            delimiter = "\t" if suffix == ".tsv" else mapping.delimiter
            header = _header(path, stream, delimiter)
            _check_columns(path, mapping, header)
            parse = _csv_parser(header, delimiter)
            number = 1
        at = 0
        while lines := _take(stream):
            if number == 0:
                lines[0] = lines[0].removeprefix(_BOM)
            records, reasons = _parse(lines, parse)
            frame = to_frame(number + 1, records, reasons, mapping, fields)
            yield Chunk(path.name, frame, partial(_line_text, lines))
            number += len(lines)
            advance(file.tell() - at)
            at = file.tell()


def _compression(path: Path) -> str | None:
    return {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}.get(path.suffix)


def _take(stream: io.BufferedReader) -> list[bytes]:
    """Return the next lines without their ends; of a line that is too long, its beginning."""
    lines: list[bytes] = []
    size = 0
    while len(lines) < LINES_PER_CHUNK and size < _CHUNK_BYTES and (line := stream.readline(MAX_LINE_BYTES + 1)):
        rest = line
        while len(rest) > MAX_LINE_BYTES and not rest.endswith(b"\n"):
            rest = stream.readline(MAX_LINE_BYTES + 1)
        lines.append(line if len(line) > MAX_LINE_BYTES else line.rstrip(b"\r\n"))
        size += len(line)
    return lines


def _parse(lines: Sequence[bytes], parse: Callable[[bytes], Record]) -> tuple[list[Record], list[str | None]]:
    records: list[Record] = []
    reasons: list[str | None] = []
    for line in lines:
        try:
            records.append(_parse_one(line, parse))
            reasons.append(None)
        except _UnreadableError as error:
            records.append({})
            reasons.append(str(error))
    return records, reasons


def _parse_one(line: bytes, parse: Callable[[bytes], Record]) -> Record:
    if len(line) > MAX_LINE_BYTES:
        raise _UnreadableError("line_too_long")
    return parse(line)


def _json(line: bytes) -> Record:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise _UnreadableError("not_json" if line.strip() else "blank") from None
    if not isinstance(record, dict):
        raise _UnreadableError("not_an_object")
    return record


def _csv_parser(header: Sequence[str], delimiter: str) -> Callable[[bytes], Record]:
    def parse(line: bytes) -> Record:
        try:
            row = next(csv.reader((line.decode(),), delimiter=delimiter, strict=True))
        except UnicodeDecodeError:
            raise _UnreadableError("not_utf8") from None
        except csv.Error:
            raise _UnreadableError("broken_quotes") from None
        except StopIteration:
            raise _UnreadableError("blank") from None
        if len(row) != len(header):
            raise _UnreadableError("column_count" if row else "blank")
        return dict(zip(header, row, strict=True))

    return parse


def _header(path: Path, stream: io.BufferedReader, delimiter: str) -> list[str]:
    try:
        line = stream.readline(MAX_LINE_BYTES).removeprefix(_BOM).rstrip(b"\r\n").decode()
        header = next(csv.reader((line,), delimiter=delimiter, strict=True), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise ArtefactError(f"{path}: the first line is no CSV header in UTF-8: {error}") from None
    if not header or len(set(header)) < len(header):
        raise ArtefactError(f"{path}: the first line must name each column once")
    return header


def _check_columns(path: Path, mapping: TableMapping, there: Sequence[str]) -> None:
    missing = sorted(mapping.named() - set(there))
    if missing:
        raise ConfigError(
            f"{path}: has no column {', '.join(missing)}, which the mapping names; has {', '.join(there)}"
        )


def _parquet(
    path: Path, mapping: TableMapping, fields: Mapping[str, Kind], advance: Callable[[int], None]
) -> Iterator[Chunk]:
    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        _check_columns(path, mapping, names)
        wanted = {column for field in fields for column in mapping.sources(field)}
        columns = [name for name in names if name in wanted]
        if not columns:
            raise ConfigError(f"{path}: has none of the fields {', '.join(fields)}; map its columns {', '.join(names)}")
        number = 0
        size = path.stat().st_size
        for batch in file.iter_batches(LINES_PER_CHUNK, columns=columns, use_threads=False):
            records = _times_as_text(batch).to_pylist()
            frame = to_frame(number + 1, records, [None] * len(records), mapping, fields)
            yield Chunk(path.name, frame, partial(_row_text, records))
            share = (number + len(records)) * size // file.metadata.num_rows - number * size // file.metadata.num_rows
            number += len(records)
            advance(share)


def _line_text(lines: Sequence[bytes], index: int) -> str:
    return lines[index].decode("utf-8", "replace")


def _row_text(rows: Sequence[Record], index: int) -> str:
    return orjson.dumps(rows[index], default=str).decode()


def _times_as_text(batch: pa.RecordBatch) -> pa.Table:
    """Write times as RFC 3339: Python's datetime holds neither nanoseconds nor each year that Parquet can."""
    schema = pa.schema(
        [
            pa.field(field.name, pa.string())
            if pa.types.is_timestamp(field.type) or pa.types.is_date(field.type)
            else field
            for field in batch.schema
        ]
    )
    return pa.Table.from_batches([batch]).cast(schema)
