"""Building the artefact: atomic, versioned, and nobody's private search becomes popular."""

import shutil
from pathlib import Path

import orjson
import polars as pl
import pytest

from service.contracts.errors import ArtefactError
from service.ranking.catalogue import CURRENT, MANIFEST, POPULAR, Catalogue, current_version
from service.recall import popular
from tests.support import POPULAR_WITH_ALL, POPULAR_WITH_PARENTS, RARE_QUERY, TENT, candidates_of, write_dataset
from workers.common.artefacts import build


def test_popular_counts_shoppers_not_searches(catalogue: Catalogue) -> None:
    """First what most shoppers searched."""
    assert catalogue.popular.queries[0] == POPULAR_WITH_ALL


def test_a_query_of_few_shoppers_stays_private(catalogue: Catalogue) -> None:
    """Fewer than three shoppers: k-anonymity. A phone number: never, however many typed it."""
    shown = set(catalogue.popular.queries)
    assert RARE_QUERY not in shown
    assert not any("call" in query for query in shown)


def test_popular_recall_falls_back_to_everyone(catalogue: Catalogue) -> None:
    """An unknown segment is no reason for an empty list; a known one has a list of its own."""
    everyone = popular.recall(catalogue, {}, 5, 0.0)
    assert len(candidates_of(everyone)) == 5
    assert popular.recall(catalogue, {"segment": "never heard of"}, 5, 0.0) == everyone
    parents, campers = (
        [one.query for one in candidates_of(popular.recall(catalogue, {"segment": segment}, 50, 0.0))]
        for segment in ("parent", "camper")
    )
    assert parents.index(POPULAR_WITH_PARENTS) < campers.index(POPULAR_WITH_PARENTS)


def test_a_synonym_finds_what_it_led_to(dataset: Path, tmp_path: Path) -> None:
    """No title has the word, but three shoppers opened the tent after it; two would not do."""
    path = dataset / "events" / "part-0.parquet"
    events = pl.read_parquet(path)
    told = [("shelter", 3), ("wigwam", 2)]
    rows = [
        (
            f"u{n}",
            2000.0 + 10 * shoppers + at,
            kind,
            query if kind == "search" else None,
            TENT if kind == "click" else None,
        )
        for query, shoppers in told
        for n in range(shoppers)
        for at, kind in enumerate(("search", "click"))
    ]
    data = Path(shutil.copytree(dataset, tmp_path / "data"))
    pl.concat([events, pl.DataFrame(rows, events.schema, orient="row")]).write_parquet(data / path.relative_to(dataset))
    build(data, tmp_path / "root")
    catalogue = Catalogue.open(tmp_path / "root")
    assert catalogue.refuses("two person shelters") is None
    assert catalogue.refuses("shelter monitor")
    assert catalogue.refuses("wigwam")
    catalogue.close()


def test_versions_follow_each_other(dataset: Path, tmp_path: Path) -> None:
    """Each build is a new version; two are kept, the pointer names the last."""
    versions = [build(dataset, tmp_path) for _ in range(3)]
    assert versions == sorted(versions)
    assert current_version(tmp_path) == versions[-1]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([CURRENT, *versions[1:]])


@pytest.mark.parametrize("harm", ["cut off", "altered", "no manifest"])
def test_a_broken_version_counts_for_none(dataset: Path, tmp_path: Path, harm: str) -> None:
    """Else the last good one to go back to would be gone; it is one, of whatever schema."""
    versions = [build(dataset, tmp_path) for _ in range(2)]
    popular, manifest = tmp_path / versions[1] / POPULAR, tmp_path / versions[0] / MANIFEST
    manifest.write_bytes(orjson.dumps(orjson.loads(manifest.read_bytes()) | {"schema": 1}))
    match harm:
        case "cut off":
            popular.write_bytes(popular.read_bytes()[:-1])
        case "altered":
            popular.write_bytes(popular.read_bytes()[:-1] + b" ")
        case _:
            (tmp_path / versions[1] / MANIFEST).unlink()
    versions.append(build(dataset, tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([CURRENT, *versions])
    versions.append(build(dataset, tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([CURRENT, *versions[2:]])


def test_the_same_dataset_gives_the_same_lists(dataset: Path, tmp_path: Path) -> None:
    """Building is deterministic."""
    one = Catalogue.open(tmp_path) if build(dataset, tmp_path) else None
    other = Catalogue.open(tmp_path) if build(dataset, tmp_path) else None
    assert one is not None
    assert other is not None
    assert one.popular.as_json() == other.popular.as_json()


def test_a_failed_build_changes_nothing(dataset: Path, tmp_path: Path) -> None:
    """The current version stays, and no half version lies about."""
    root = tmp_path / "root"
    version = build(dataset, root)
    with pytest.raises(TypeError):
        build(dataset, root, sample={"not": object()})
    assert current_version(root) == version
    assert sorted(path.name for path in root.iterdir()) == sorted([CURRENT, version])


def test_missing_parts_of_a_dataset_are_named(tmp_path: Path) -> None:
    """With the command that makes one."""
    with pytest.raises(ArtefactError, match=r"items\.parquet: missing.*aigq"):
        build(tmp_path / "nowhere", tmp_path / "root")
    data = write_dataset(tmp_path / "data")
    shutil.rmtree(data / "events")
    with pytest.raises(ArtefactError, match="events: missing"):
        build(data, tmp_path / "root")


def test_a_dataset_without_searches_is_refused(tmp_path: Path) -> None:
    """There would be nothing to fall back to."""
    data = write_dataset(tmp_path / "data")
    events = pl.read_parquet(data / "events" / "part-0.parquet")
    events.filter(pl.col("type") != "search").write_parquet(data / "events" / "part-0.parquet")
    with pytest.raises(ArtefactError, match="no query was searched by 3"):
        build(data, tmp_path / "root")


def test_profiles_and_optional_columns_may_be_missing(tmp_path: Path) -> None:
    """Items need only an id and a title."""
    data = write_dataset(tmp_path / "data")
    (data / "profiles.parquet").unlink()
    pl.read_parquet(data / "items.parquet", columns=["item_id", "title"]).write_parquet(data / "items.parquet")
    build(data, tmp_path / "root")
    catalogue = Catalogue.open(tmp_path / "root")
    assert not catalogue.popular.groups
    assert catalogue.item("tent-1").category == ""  # type: ignore[union-attr]
    catalogue.close()
