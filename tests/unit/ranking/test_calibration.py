"""What sources weigh: checked when it is opened, kept in memory, and what the order of a merged list follows."""

import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.contracts.codecs import BehaviourEntry
from service.contracts.errors import ArtefactError
from service.ranking.calibration import BY_HAND, UNWEIGHTED, Calibration
from service.ranking.candidates import from_co_click, from_popular, live_triggers
from service.ranking.catalogue import CALIBRATION, MANIFEST, Catalogue, current_version, digest
from service.ranking.merge import Proposal, merge
from workers.common.artefacts import build

_CALIBRATED = Calibration(0.5, 0.4, 1.0)
weights = st.floats(0, 1, exclude_min=True)


@pytest.fixture
def root(dataset: Path, tmp_path: Path) -> Path:
    """Return the root of an artefact with weights of its own."""
    build(dataset, tmp_path / "root", calibrate=lambda _: _CALIBRATED)
    return tmp_path / "root"


@pytest.fixture
def calibrated(root: Path) -> Iterator[Catalogue]:
    """Return that artefact, open."""
    found = Catalogue.open(root)
    yield found
    found.close()


@given(weights, weights, weights)
def test_weights_are_kept_as_they_are(co_click: float, text: float, popular: float) -> None:
    """Each is positive and finite, before and after."""
    made = Calibration(co_click, text, popular)
    assert Calibration.from_json(orjson.loads(orjson.dumps(made.as_json()))) == made
    assert all(0 < weight < math.inf for weight in made.as_json().values())


@pytest.mark.parametrize("weight", [0, -0.1, 1.1, math.nan, math.inf, -math.inf, None, "1", True, [1]])
def test_what_is_no_weight_is_refused(weight: Any) -> None:
    """A list ordered by one would be no order."""
    with pytest.raises(ValueError, match="weight of text"):
        Calibration.from_json({**BY_HAND.as_json(), "text": weight})


@pytest.mark.parametrize("content", [None, [], 1, {}, {"co_click": 1}, {**BY_HAND.as_json(), "u2q": 1}])
def test_another_shape_is_refused(content: object) -> None:
    """All sources of an artefact, and no other."""
    with pytest.raises(ValueError, match="one weight for each of co_click, text, popular"):
        Calibration.from_json(content)


def test_an_artefact_without_weights_has_those_by_hand(catalogue: Catalogue, calibrated: Catalogue) -> None:
    """So artefacts of before are served as before."""
    assert catalogue.calibration is BY_HAND
    assert calibrated.calibration == _CALIBRATED


def _proposed(catalogue: Catalogue) -> list[Proposal]:
    triggers = live_triggers([BehaviourEntry("search", 1.0, "sleeping bag")], catalogue)
    return from_co_click(triggers, catalogue) + from_popular(catalogue, {}, 10, 0.0)


@given(weights, weights)
def test_the_order_follows_the_weights(catalogue: Catalogue, co_click: float, popular: float) -> None:
    """Each query has the sum that the weights say, and the larger comes first."""
    scores: dict[str, float] = {}
    weight_of = {"co_click": co_click, "popular": popular}
    bare = _proposed(replace(catalogue, calibration=UNWEIGHTED))
    assert {one.source for one in bare} == set(weight_of)
    for one in bare:
        for _, query, score in one.rows:
            scores[query] = scores.get(query, 0.0) + weight_of[one.source] * score
    weighed = replace(catalogue, calibration=Calibration(co_click, 1.0, popular))
    merged = merge(_proposed(weighed), 50, (), trigger_share=1.0)
    assert {one.query: pytest.approx(one.score) for one in merged} == scores
    assert [one.score for one in merged] == sorted((one.score for one in merged), reverse=True)


def test_weights_are_read_once(root: Path, calibrated: Catalogue) -> None:
    """A request reads numbers in memory: the files may be gone."""
    before = _proposed(calibrated)
    shutil.rmtree(root)
    assert _proposed(calibrated) == before


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"co_click":1,"text":0.25,"popular":0}', b"\xff"])
def test_broken_weights_are_refused_and_the_last_ones_kept(dataset: Path, root: Path, content: bytes) -> None:
    """Cut short, altered, or well copied and wrong: a running service goes on with what it has."""
    serving = Catalogue.open(root)
    version = build(dataset, root, calibrate=lambda _: BY_HAND)
    folder = root / version
    (folder / CALIBRATION).write_bytes(content)
    with pytest.raises(ArtefactError, match=CALIBRATION):
        Catalogue.open(root)
    manifest = orjson.loads((folder / MANIFEST).read_bytes())
    manifest["files"][CALIBRATION] = {"bytes": len(content), "blake2b": digest(folder / CALIBRATION)}
    (folder / MANIFEST).write_bytes(orjson.dumps(manifest))
    with pytest.raises(ArtefactError, match=CALIBRATION):
        Catalogue.open(root)
    assert serving.renewed(root) is serving
    assert serving.calibration == _CALIBRATED
    serving.close()


def test_nothing_is_published_if_weighing_fails(dataset: Path, root: Path) -> None:
    """The current version stays, and nothing half done is left."""

    def fail(_: Catalogue) -> Calibration:
        raise ArtefactError("too few moments")

    before, files = current_version(root), sorted(root.iterdir())
    with pytest.raises(ArtefactError, match="too few"):
        build(dataset, root, calibrate=fail)
    assert (current_version(root), sorted(root.iterdir())) == (before, files)
