"""What acceptance tests with a daemon and workers of their own share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.broker import Broker
from tests.support.service import Service, service


@pytest.fixture
def at(broker: Broker, tmp_path: Path) -> Iterator[Service]:
    """A daemon over a fresh folder and an empty broker."""
    broker.flush()
    with service(broker, tmp_path) as made:
        yield made
