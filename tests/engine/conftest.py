"""Fixtures of the engine's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Two scripted workers, a real SQLite store, the memory transport; a clock that stands still."""
    made = World(tmp_path)
    yield made
    made.close()
