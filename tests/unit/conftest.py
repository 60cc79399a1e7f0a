"""Unit tests see no settings but their own."""

import os

import pytest


@pytest.fixture(autouse=True)
def _no_outside_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("AIGQ_"):
            monkeypatch.delenv(name)
