"""The catalogue artefact: what is half copied or altered is refused, and what is open stays usable."""

import shutil
from pathlib import Path

import orjson
import pytest

from service.contracts.errors import ArtefactError
from service.contracts.keys import item_trigger
from service.ranking.catalogue import (
    CO_CLICK,
    CONSUMABLE,
    CURRENT,
    ITEMS,
    MANIFEST,
    POPULAR,
    SAMPLE,
    TEXT,
    WORDS,
    Catalogue,
)
from tests.support import SAMPLE_SHOP, TENT, TENT_CATEGORY


@pytest.fixture
def root(artefact_root: Path, tmp_path: Path) -> Path:
    """Return a copy of the artefact that the test may spoil."""
    return Path(shutil.copytree(artefact_root, tmp_path / "root"))


def _version(root: Path) -> Path:
    return root / (root / CURRENT).read_text().strip()


def test_items(catalogue: Catalogue) -> None:
    """Items by id; what is not there is not an error."""
    item = catalogue.item(TENT)
    assert item is not None
    assert (item.title, item.category, item.price) == ("Two Person Tent", TENT_CATEGORY, 99.0)
    odd = catalogue.item("odd-1")
    assert odd is not None
    assert (odd.category, odd.price) == ("", None)
    assert set(catalogue.items([TENT, "gone", "odd-1"])) == {TENT, "odd-1"}


@pytest.mark.parametrize("item_id", ["", "gone", "😀" * 128, "茶" * 200, "x" * 5000, "a\x00"])
def test_ids_that_no_item_has(catalogue: Catalogue, item_id: str) -> None:
    """Shoppers click on what was deleted, and clients send nonsense: both are just absent."""
    assert catalogue.item(item_id) is None


def test_what_a_query_finds(catalogue: Catalogue) -> None:
    """All its words must be said of one item: in title and category, or in what enough shoppers typed before it."""
    assert catalogue.refuses("Tents for two persons") is None
    assert catalogue.refuses("two person tnet")
    assert catalogue.refuses("two person monitor"), "each word is known, but no item has all"
    assert catalogue.refuses("for the"), "nothing was said"
    assert catalogue.refuses("thermos flask x" + "x" * 600)


def test_what_a_query_is_about(catalogue: Catalogue) -> None:
    """The category of most items that it finds; a query that finds nothing is about nothing."""
    assert catalogue.query_category("tents for two persons") == TENT_CATEGORY
    assert catalogue.query_category("two person tnet") is None


def test_popular_and_sample(catalogue: Catalogue) -> None:
    """Everyone's list is always there, best first, scores in (0, 1]."""
    scores = [q.score for q in catalogue.popular.ranked((), 50)]
    assert scores[0] == 1.0
    assert scores == sorted(scores, reverse=True)
    assert min(scores) > 0
    assert catalogue.sample == SAMPLE_SHOP


@pytest.mark.parametrize("name", [ITEMS, CO_CLICK, TEXT, POPULAR, WORDS, CONSUMABLE, SAMPLE, MANIFEST])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_half_copied_file_is_refused(root: Path, name: str, share: float) -> None:
    """LMDB would crash the process on one (SIGBUS), so it is never opened."""
    path = _version(root) / name
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(ArtefactError, match=name):
        Catalogue.open(root)


@pytest.mark.parametrize("name", [ITEMS, CO_CLICK, TEXT, POPULAR, WORDS, CONSUMABLE, SAMPLE])
def test_an_altered_file_is_refused(root: Path, name: str) -> None:
    """One changed byte is enough."""
    path = _version(root) / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtefactError, match="altered"):
        Catalogue.open(root)


@pytest.mark.parametrize("name", [ITEMS, CO_CLICK, TEXT, POPULAR, WORDS, CONSUMABLE, SAMPLE, MANIFEST])
def test_a_missing_file_is_refused(root: Path, name: str) -> None:
    """The message has the path and the fix."""
    (_version(root) / name).unlink()
    with pytest.raises(ArtefactError, match=f"{name}: missing; build it with"):
        Catalogue.open(root)


@pytest.mark.parametrize(
    "manifest",
    [None, [], {}, {"schema": 99, "files": {}}, {"schema": 1}, {"schema": 1, "files": {}}, {"schema": 1, "files": []},
     {"schema": 1, "files": {ITEMS: 5}}],
)  # fmt: skip
def test_a_manifest_of_another_shape_is_refused(root: Path, manifest: object) -> None:
    """Never a `KeyError` in the middle of a running service."""
    (_version(root) / MANIFEST).write_bytes(orjson.dumps(manifest))
    with pytest.raises(ArtefactError, match=MANIFEST):
        Catalogue.open(root)


@pytest.mark.parametrize("content", [b"", b"00009-nowhere\n", b"\xff\xfe"])
def test_a_broken_pointer_is_refused(root: Path, content: bytes) -> None:
    """`CURRENT` must name a version that is there."""
    (root / CURRENT).write_bytes(content)
    with pytest.raises(ArtefactError):
        Catalogue.open(root)


def _publish(root: Path, version: str) -> Path:
    """Make a copy of the current version the current one."""
    folder = Path(shutil.copytree(_version(root), root / version))
    (root / CURRENT).write_text(version)
    return folder


@pytest.mark.parametrize("name", [ITEMS, CO_CLICK, TEXT, POPULAR, WORDS, CONSUMABLE, SAMPLE, MANIFEST])
def test_a_next_version_cut_in_half_is_not_taken(root: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    """The one before is kept, still answers, and the log says why; a whole one after it is taken."""
    catalogue = Catalogue.open(root)
    path = _publish(root, "00002-half") / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for _ in range(2):
        assert catalogue.renewed(root) is catalogue
    assert f"kept {catalogue.version}" in caplog.text
    assert name in caplog.text
    assert catalogue.item(TENT) is not None
    assert catalogue.refuses("two person tent") is None
    assert catalogue.popular.queries
    assert catalogue.query_category("two person tent") == TENT_CATEGORY
    catalogue.co_click.first([item_trigger(TENT)])
    shutil.rmtree(root / "00002-half")
    (root / CURRENT).write_text(catalogue.version)
    assert catalogue.renewed(root) is catalogue
    _publish(root, "00003-whole")
    renewed = catalogue.renewed(root)
    assert (renewed.version, renewed.item(TENT)) == ("00003-whole", catalogue.item(TENT))
    for opened in (catalogue, renewed):
        opened.close()


def test_a_version_that_is_still_open_is_taken_later(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    """LMDB maps a file once a process: the way back waits until nobody reads the old map any more."""
    first = Catalogue.open(root)
    _publish(root, "00002-next")
    second = first.renewed(root)
    (root / CURRENT).write_text(first.version)
    assert second.renewed(root) is second
    assert "already open" in caplog.text
    first.close()
    third = second.renewed(root)
    assert (third.version, third.item(TENT) is not None) == (first.version, True)
    for opened in (second, third):
        opened.close()


def test_what_cannot_be_read_is_refused(root: Path) -> None:
    """As anything else: an error of the file system would end the loop that looks for new versions."""
    folder = _version(root)
    (folder / TEXT).unlink()
    (folder / TEXT).mkdir()
    manifest = orjson.loads((folder / MANIFEST).read_bytes())
    manifest["files"][TEXT]["bytes"] = (folder / TEXT).stat().st_size
    (folder / MANIFEST).write_bytes(orjson.dumps(manifest))
    with pytest.raises(ArtefactError, match=f"{TEXT}: cannot be read"):
        Catalogue.open(root)


def test_nothing_published_yet(tmp_path: Path) -> None:
    """The message says which command publishes."""
    with pytest.raises(ArtefactError, match="aigq artefacts build"):
        Catalogue.open(tmp_path)


def test_an_open_artefact_survives_the_next_one(root: Path) -> None:
    """Requests in flight read the old map, even once its files are gone."""
    catalogue = Catalogue.open(root)
    shutil.rmtree(root)
    assert catalogue.item(TENT) is not None
    catalogue.close()
