"""The catalogue artefact: versioned, memory-mapped, read by service and workers, written by `aigq artefacts build`.

Layout: `<root>/CURRENT` names a version; `<root>/<version>/` holds `manifest.json` (size and digest of each file),
`items.mdb` (LMDB: item id -> JSON; shared by all processes through the page cache), `words.mdb` (which items a query
finds), `co_click.mdb` (what triggers lead to by the logs), `text.mdb` (what items and queries lead to by their words,
where the logs know nothing of them), `popular.json`, `consumable.json` and, if a CTR ranker weighed the sources,
`calibration.json`.
A file that does not match its manifest is refused, so a half-copied artefact is never served (LMDB itself would crash
on one with SIGBUS). https://lmdb.readthedocs.io/
"""

import hashlib
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import lmdb
import orjson

from service.contracts.errors import ArtefactError
from service.contracts.settings import ServiceSettings
from service.ranking import lmdb_file
from service.ranking.bounded import Bounded
from service.ranking.calibration import BY_HAND, Calibration
from service.ranking.filter import NOTHING, BlockList
from service.ranking.inverted_index import InvertedIndex
from service.ranking.popular_queries import PopularQueries
from service.ranking.trigger_table import TriggerTable

SCHEMA: Final = 6
CURRENT: Final = "CURRENT"
MANIFEST: Final = "manifest.json"
ITEMS: Final = "items.mdb"
_CATEGORIES: Final = 100_000
"""Items, and queries, of which a category, or why it is refused, stays in memory; some 10 MB each."""
POPULAR: Final = "popular.json"
CONSUMABLE: Final = "consumable.json"
WORDS: Final = "words.mdb"
CO_CLICK: Final = "co_click.mdb"
TEXT: Final = "text.mdb"
SAMPLE: Final = "sample.json"
CALIBRATION: Final = "calibration.json"

_log = logging.getLogger(__name__)
_Parsed = TypeVar("_Parsed")
_FIX: Final = "build it with: aigq artefacts build --data DIR --out ROOT"


@dataclass(frozen=True, slots=True)
class Item:
    """One product; `category` is a path "A > B > C"; `words` are the few that stand for it in a prompt."""

    item_id: str
    title: str
    category: str
    price: float | None
    words: str = ""


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Catalogue:
    """An open artefact; `consumable` are the categories in which shoppers buy again, `blocked` what is never said."""

    version: str
    popular: PopularQueries
    sample: Mapping[str, Any]
    _items: lmdb.Environment
    _words: InvertedIndex
    co_click: TriggerTable
    text: TriggerTable
    min_results: int = 1
    consumable: AbstractSet[str] = frozenset()
    blocked: BlockList = NOTHING
    calibration: Calibration = BY_HAND
    _refused: Bounded[str, str | None] = field(init=False, default_factory=lambda: Bounded(_CATEGORIES))
    _categories: Bounded[str, str | None] = field(init=False, default_factory=lambda: Bounded(_CATEGORIES))
    _query_categories: Bounded[str, str | None] = field(init=False, default_factory=lambda: Bounded(_CATEGORIES))

    @classmethod
    def open(cls, root: Path, min_results: int = 1, blocked: BlockList = NOTHING) -> Self:
        """Open the current version under `root`; `refuses` asks for `min_results` items, 0 for none.

        Raises:
            ArtefactError: it is missing, cut short, altered, or of another schema.
        """
        version = current_version(root)
        folder = root / version
        manifest = _json(folder / MANIFEST)
        if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
            raise ArtefactError(f"{folder / MANIFEST}: is not of schema {SCHEMA}; {_FIX}")
        files = verified(folder, [ITEMS, WORDS, CO_CLICK, TEXT, POPULAR, CONSUMABLE])
        return cls.unchecked(folder, min_results, files, blocked)

    @classmethod
    def unchecked(
        cls, folder: Path, min_results: int = 1, names: Collection[str] = (), blocked: BlockList = NOTHING
    ) -> Self:
        """Open the files in `folder` as who has just written them; `names` says which of the optional ones are there.

        Raises:
            ArtefactError: one is of another shape.
        """
        popular = _parsed(folder / POPULAR, PopularQueries.from_json)
        calibration = _parsed(folder / CALIBRATION, Calibration.from_json) if CALIBRATION in names else BY_HAND
        consumable = frozenset(_json(folder / CONSUMABLE))
        sample = _json(folder / SAMPLE) if SAMPLE in names else {}
        items = lmdb_file.read_only(folder / ITEMS)
        words = InvertedIndex.open(folder / WORDS)
        co_click, text = TriggerTable.open(folder / CO_CLICK), TriggerTable.open(folder / TEXT, by_rank=True)
        return cls(
            folder.name, popular, sample, items, words, co_click, text, min_results, consumable, blocked, calibration
        )

    def renewed(self, root: Path) -> Self:
        """Return the current version under `root`: this one, if it is that or if another cannot be read (logged).

        A replaced one is left to the garbage collector, since someone may still be reading it.
        """
        try:
            if current_version(root) == self.version:
                return self
            found = type(self).open(root, self.min_results, self.blocked)
        except ArtefactError as error:
            _log.warning("artefact: kept %s, since %s", self.version, error)
            return self
        _log.info("artefact: now %s", found.version)
        return found

    def refuses(self, query: str) -> str | None:
        """Return why the shop does not suggest `query` (a bounded label), or None if it may. Cached: each request asks.

        It is `blocked`, or `finds_nothing`: fewer than `min_results` items have its `word_choices`, themselves or in
        what led shoppers to them.
        """
        try:
            return self._refused[query]
        except KeyError:
            return self._refused.put(query, "blocked" if self.blocked.blocks(query) else self._misses(query))

    def _misses(self, query: str) -> str | None:
        enough = not self.min_results or self._words.finds(query, self.min_results)
        return None if enough else "finds_nothing"

    def count(self, query: str, limit: int) -> int:
        """Return how many items `query` finds, at most `limit`."""
        return self._words.count(query, limit)

    def query_category(self, query: str) -> str | None:
        """Return the category of most items that `query` finds, or None if it finds nothing. Cached."""
        try:
            return self._query_categories[query]
        except KeyError:
            return self._query_categories.put(query, self._words.label(query))

    def category(self, item_id: str) -> str | None:
        """Return an item's category, or None if the catalogue does not have the item. Cached: each request asks."""
        try:
            return self._categories[item_id]
        except KeyError:
            item = self.item(item_id)
            return self._categories.put(item_id, None if item is None else item.category)

    def item(self, item_id: str) -> Item | None:
        """Return an item, or None if the catalogue does not have it (deleted, or never existed)."""
        return self.items([item_id]).get(item_id)

    def items(self, item_ids: Sequence[str]) -> dict[str, Item]:
        """Return the items that exist, by id."""
        found: dict[str, Item] = {}
        with self._items.begin(buffers=True) as transaction:
            for item_id in item_ids:
                raw = transaction.get(item_id.encode("utf-8")) if item_id else None  # LMDB has no empty keys
                if raw is not None:
                    found[item_id] = Item(item_id, *orjson.loads(raw))
        return found

    def close(self) -> None:
        """Release the memory maps."""
        self._items.close()
        self._words.close()
        self.co_click.close()
        self.text.close()


def open_catalogue(service: ServiceSettings) -> Catalogue:
    """Open the catalogue that settings name, with the block list that they name.

    Raises:
        ArtefactError: see `Catalogue.open`.
        ConfigError: see `BlockList.read`.
    """
    return Catalogue.open(service.artefacts, service.min_results, BlockList.read(service.block_list))


def encode_item(item: Item) -> bytes:
    """Return the LMDB value of an item."""
    return orjson.dumps([item.title, item.category, item.price, item.words])


def digest(path: Path) -> str:
    """Return the BLAKE2b digest of a file, streamed."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def current_version(root: Path) -> str:
    """Return the version that `CURRENT` names.

    Raises:
        ArtefactError: nothing was ever published there.
    """
    try:
        return (root / CURRENT).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise ArtefactError(f"{root / CURRENT}: no artefact there; {_FIX}") from None


def verified(folder: Path, needed: Collection[str] = ()) -> list[str]:
    """Return the names of a version's files, of whatever schema: all that its manifest lists, `needed` among them.

    Raises:
        ArtefactError: one is missing, cut short or altered.
    """
    try:
        files = _json(folder / MANIFEST)["files"]
        expected = {name: (files[name]["bytes"], files[name]["blake2b"]) for name in (*needed, *files)}
    except (KeyError, TypeError):
        raise ArtefactError(f"{folder / MANIFEST}: does not list its files; {_FIX}") from None
    for name, (size, known) in expected.items():
        _verify(folder / name, size, known)
    return list(expected)


def _verify(path: Path, size: int, expected: str) -> None:
    try:
        found = path.stat().st_size
        if found != size:
            raise ArtefactError(f"{path}: has {found} bytes, its manifest says {size} (half copied?); {_FIX}")
        if digest(path) != expected:
            raise ArtefactError(f"{path}: does not match its manifest's digest (altered?); {_FIX}")
    except FileNotFoundError:
        raise ArtefactError(f"{path}: missing; {_FIX}") from None
    except OSError as error:
        raise ArtefactError(f"{path}: cannot be read ({error.strerror}); {_FIX}") from None


def _parsed(path: Path, parse: Callable[[Any], _Parsed]) -> _Parsed:
    try:
        return parse(_json(path))
    except ValueError as error:
        raise ArtefactError(f"{path}: {error}; {_FIX}") from None


def _json(path: Path) -> Any:
    try:
        return orjson.loads(path.read_bytes())
    except OSError:
        raise ArtefactError(f"{path}: missing; {_FIX}") from None
    except orjson.JSONDecodeError:
        raise ArtefactError(f"{path}: is not JSON (half copied?); {_FIX}") from None
