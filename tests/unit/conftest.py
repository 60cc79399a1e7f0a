"""Unit tests see no settings but their own, and share one open artefact."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.ranking.catalogue import Catalogue


@pytest.fixture(scope="session")
def catalogue(artefact_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalogue]:
    """Return the open artefact: a copy, since a process opens an LMDB file once, and integration tests open theirs."""
    found = Catalogue.open(shutil.copytree(artefact_root, tmp_path_factory.mktemp("open") / "artefacts"))
    yield found
    found.close()


@pytest.fixture(autouse=True)
def _no_outside_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("AIGQ_"):
            monkeypatch.delenv(name)
