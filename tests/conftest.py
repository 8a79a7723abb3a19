"""Fixtures that every suite may use. Helpers live in tests/support; a fixture here only starts and ends them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.support.broker import Broker

# Exports measure at full speed and wait for it; a machine that runs tests on all cores is not at full speed.
os.environ.setdefault("SEARCHD_PATIENCE_S", "0.2")

# CI tries the same inputs each time, so that a red run speaks of the change; everywhere else each run tries new ones.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    """One real Redis-protocol server for the whole session, on a unix socket: `broker.url`, `broker.client()`."""
    with Broker() as started:
        yield started


@pytest.fixture
def clean_broker(broker: Broker) -> Broker:
    """The session's server with no key left from another test."""
    broker.flush()
    return broker


@pytest.fixture
def own_broker() -> Iterator[Broker]:
    """A server of the test's own, to be killed and restarted; what it answered it has on the disk."""
    with Broker(durable=True) as started:
        yield started
