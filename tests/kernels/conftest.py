"""Fixtures that the tests of kernels share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kernels import _choose


@pytest.fixture
def unasked(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The chooser as it comes: nothing in the environment, and nothing refused before or after."""
    monkeypatch.delenv(_choose.SWITCH, raising=False)
    monkeypatch.setattr(_choose, "REFUSED", {})
    _choose._decide.cache_clear()
    yield
    _choose._decide.cache_clear()
