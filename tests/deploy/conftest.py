"""Two bundles that are put on boards one after the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import tiny_artifacts


@pytest.fixture
def first(tmp_path: Path) -> Path:
    return tiny_artifacts.bundle(tmp_path / "first")


@pytest.fixture
def second(tmp_path: Path) -> Path:
    return tiny_artifacts.bundle(tmp_path / "second", seed=5)
