"""What the contract suites are run over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from searchd.store import open_store
from searchd.store.base import Store
from tests.support.stores import BACKENDS, store_url


@pytest.fixture(params=BACKENDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with store_url(request.param, tmp_path) as found:
        yield found


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    opened = open_store(url)
    yield opened
    opened.close()
