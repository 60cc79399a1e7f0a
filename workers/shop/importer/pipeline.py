"""The import from beginning to end. A dataset appears under its name when everything went well, or not at all."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import polars as pl

from service.contracts.errors import ArtefactError, ConfigError
from workers.common.dataset import ITEM_SCHEMA, ITEMS, PROFILE_SCHEMA, PROFILES, DatasetWriter
from workers.shop.importer import tables
from workers.shop.importer.events import SCHEMA, check_events
from workers.shop.importer.mapping import EVENT_FIELDS, ITEM_FIELDS, PROFILE_FIELDS, Mapping
from workers.shop.importer.output import Output
from workers.shop.importer.pseudo_queries import leaves, with_pseudo_queries
from workers.shop.importer.pseudonyms import Pseudonyms
from workers.shop.importer.readers import Chunk, read
from workers.shop.importer.spill import BUCKETS, Spill
from workers.shop.importer.tally import Rejects, Tally

MIN_SHOPPERS: Final = 3
MAX_REJECTS: Final = 0.05
_CLOCK_SLACK_S: Final = 86_400.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What to import, and how."""

    events: Sequence[Path]
    items: Sequence[Path]
    profiles: Sequence[Path] = ()
    out: Path
    mapping: Mapping
    overwrite: bool = False
    max_rejects: float = MAX_REJECTS
    min_shoppers: int = MIN_SHOPPERS
    pseudonyms: Pseudonyms | None = None
    split_at: datetime | None = None
    now: datetime | None = None
    """The clock, unless told otherwise: events a day or more after it are rejected."""

    @property
    def rejects(self) -> Path:
        """The file of rejected lines."""
        return self.out.with_name(f"{self.out.name}-rejects.jsonl")

    @property
    def later(self) -> Path:
        """The dataset of events from `split_at` on."""
        return self.out.with_name(f"{self.out.name}-later")


@dataclass(frozen=True, slots=True)
class Report:
    """What an import did: a manifest for each dataset, and the count of lines."""

    manifests: dict[Path, dict[str, Any]]
    tallies: tuple[Tally, Tally, Tally]


class ImportRefused(ArtefactError):
    """Too many lines were rejected, or all; the message has the reasons."""

    def __init__(self, message: str, tallies: tuple[Tally, Tally, Tally]) -> None:
        super().__init__(message)
        self.tallies = tallies


def run(request: Request, advance: Callable[[str, int, int], None] = lambda *_: None) -> Report:
    """Import; `advance` hears (stage, done since the last call, total of the stage).

    Raises:
        ArtefactError: a file cannot be read, or a dataset is there already.
        ImportRefused: too many lines are rejected.
        ConfigError: the mapping does not fit the files, or the split leaves one side empty.
        OSError: `out` cannot be written.
    """
    roots = [request.out] if request.split_at is None else [request.out, request.later]
    request.out.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        writers = [stack.enter_context(DatasetWriter(root, overwrite=request.overwrite)) for root in roots]
        prefix = f".{request.out.name}-spill-"
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=prefix, dir=request.out.parent)))
        run_ = _Import(request, folder, advance)
        try:
            items, profiles = run_.tables()
            spill = stack.enter_context(Spill(folder))
            run_.spill_events(spill)
        finally:
            run_.rejects_file.close()
        if any(tally.faulty for tally in run_.tallies):
            (folder / "rejects").replace(request.rejects)
        else:
            request.rejects.unlink(missing_ok=True)
        _refuse(run_.tallies, request)
        outputs = [Output(writer, items["item_id"]) for writer in writers]
        run_.write_events(spill, outputs, leaves(items))
        return run_.finish(list(zip(writers, outputs, strict=True)), items, profiles)


class _Import:
    """One run."""

    def __init__(self, request: Request, folder: Path, advance: Callable[[str, int, int], None]) -> None:
        self.request = request
        self.advance = advance
        self.tallies = (Tally("items"), Tally("profiles"), Tally("events"))
        self.rejects_file = (folder / "rejects").open("wb")
        self.rejects = Rejects(self.rejects_file, with_text=request.pseudonyms is None)
        self.pseudo_searches = 0
        now = request.now or datetime.now(UTC)
        self.latest = now.timestamp() + _CLOCK_SLACK_S

    def tables(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return catalogue and profiles."""
        mapping, (items, profiles, _) = self.request.mapping, self.tallies
        item_frames = [
            self._sound(items, chunk, tables.check_items(chunk.frame), tables.ITEM_SCHEMA)
            for path in self.request.items
            for chunk in read(path, mapping.items, ITEM_FIELDS, lambda _: None)
        ]
        profile_frames = [
            self._sound(profiles, chunk, tables.check_profiles(chunk.frame), tables.PROFILE_SCHEMA)
            for path in self.request.profiles
            for chunk in read(path, mapping.profiles, PROFILE_FIELDS, lambda _: None)
        ]
        kept_items, items.duplicates = tables.last_of_each(item_frames, tables.ITEM_SCHEMA)
        kept_profiles, profiles.duplicates = tables.last_of_each(profile_frames, tables.PROFILE_SCHEMA)
        items.accepted, profiles.accepted = kept_items.height, kept_profiles.height
        if self.request.pseudonyms:
            kept_profiles = self.request.pseudonyms.apply(kept_profiles).sort("user_id")
        return kept_items, kept_profiles

    def spill_events(self, spill: Spill) -> None:
        """Check the log and put its sound lines into buckets."""
        mapping = self.request.mapping.events
        for chunk in self._log():
            sound = self._sound(self.tallies[2], chunk, check_events(chunk.frame, mapping, self.latest), SCHEMA)
            if self.request.pseudonyms:
                sound = self.request.pseudonyms.apply(sound)
            if sound.height:
                spill.add(sound)

    def _log(self) -> Iterator[Chunk]:
        total = sum(path.stat().st_size for path in self.request.events if path.exists())
        for path in self.request.events:
            yield from read(
                path, self.request.mapping.events, EVENT_FIELDS, lambda done: self.advance("reading", done, total)
            )

    def _sound(self, tally: Tally, chunk: Chunk, checked: pl.DataFrame, schema: dict[str, Any]) -> pl.DataFrame:
        self.rejects.take(tally, chunk, checked["reason"])
        return checked.filter(pl.col("reason").is_null()).select(list(schema))

    def write_events(self, spill: Spill, outputs: Sequence[Output], leaf_of: pl.DataFrame) -> None:
        """Sort each bucket, drop duplicates, and write it to the one dataset, or the two."""
        tally = self.tallies[2]
        for events in spill.buckets():
            kept = events.filter(pl.col("event_id").is_null() | pl.struct("user_id", "event_id").is_first_distinct())
            tally.duplicates += events.height - kept.height
            tally.accepted += kept.height
            if self.request.mapping.events.pseudo_query:
                kept, made = with_pseudo_queries(kept, leaf_of)
                self.pseudo_searches += made
            # Stable: events of one moment keep the log's order.
            kept = kept.sort("user_id", "ts", maintain_order=True)
            if self.request.split_at is None:
                outputs[0].add(kept)
            else:
                before = pl.col("ts") < self.request.split_at.timestamp()
                outputs[0].add(kept.filter(before))
                outputs[1].add(kept.filter(~before))
            self.advance("sorting", 1, BUCKETS)
        for output in outputs:
            output.flush()

    def finish(
        self, made: Sequence[tuple[DatasetWriter, Output]], items: pl.DataFrame, profiles: pl.DataFrame
    ) -> Report:
        """Write tables and manifests, and give the datasets their names."""
        request = self.request
        for tally in self.tallies:
            if not tally.balanced():
                raise AssertionError(f"{tally.table}: lines are missing from the count: {tally.summary()}")
        if not all(output.events for _, output in made):
            raise ConfigError(f"split at {request.split_at}: one side has no events; choose a moment inside the logs")
        manifests = {}
        for part, (writer, output) in enumerate(made):
            manifest = self._manifest(output, items, profiles)
            if request.split_at is not None:
                at = request.split_at.astimezone(UTC).isoformat()
                manifest |= {"split": {"at": at, "part": ("earlier", "later")[part]}}
                manifest[("to", "from")[part]] = at
            manifests[writer.root] = manifest
            writer.write(ITEMS, items.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(ITEM_SCHEMA))
            writer.write(PROFILES, profiles.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(PROFILE_SCHEMA))
        for writer, output in made:
            manifests[writer.root] |= {"events": output.events}
            writer.close(manifests[writer.root])
        return Report(manifests, self.tallies)

    def _manifest(self, output: Output, items: pl.DataFrame, profiles: pl.DataFrame) -> dict[str, Any]:
        request = self.request
        return {
            "source": "import",
            "files": [path.name for path in (*request.events, *request.items, *request.profiles)],
            "mapping": {"name": request.mapping.name, "digest": request.mapping.digest()},
            **output.summary(request.min_shoppers),
            "items": items.height,
            "profiles": profiles.height,
            "lines": {tally.table: tally.summary() for tally in self.tallies},
            "pseudonyms": {"key_id": request.pseudonyms.key_id} if request.pseudonyms else None,
            "pseudo_queries": {"field": request.mapping.events.pseudo_query, "searches": self.pseudo_searches}
            if request.mapping.events.pseudo_query
            else None,
        }


def _refuse(tallies: tuple[Tally, Tally, Tally], request: Request) -> None:
    """Fail if a table lost too many lines, or all.

    Raises:
        ImportRefused: so it is.
    """
    failed = [tally for tally in tallies if tally.share > request.max_rejects]
    if failed:
        shares = ", ".join(f"{tally.share:.1%} of the {tally.table}" for tally in failed)
        reasons = "\n  ".join(line for tally in failed for line in tally.explain())
        message = (
            f"{shares} rejected, at most {request.max_rejects:.1%} may be; nothing was imported; "
            f"all of them are in {request.rejects}\n  {reasons}"
        )
        raise ImportRefused(message, tallies)
    for tally, paths in zip(tallies, (request.items, (), request.events), strict=True):
        if paths and tally.lines == tally.rejected.total():
            raise ImportRefused(f"no {tally.table} in {', '.join(map(str, paths))}; nothing was imported", tallies)
