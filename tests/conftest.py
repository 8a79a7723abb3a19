"""Fixtures that every suite may use. Helpers live in tests/support; a fixture here only starts and ends them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.broker import Broker

# Exports measure at full speed and wait for it; a machine that runs tests on all cores is not at full speed.
os.environ.setdefault("SEARCHD_PATIENCE_S", "0.2")

# One thread a process, as a job on a CPU has it: on two cores, two processes of tests with two threads each spend much
# of their time waiting for each other. Set before torch is imported; what tests start has it too.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# CI tries the same inputs each time, so that a red run speaks of the change; everywhere else each run tries new ones.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


LONG = (
    "acceptance/test_compose_up.py", "acceptance/test_run_life.py", "kernels/test_compiles.py",
    "acceptance/test_morph.py", "acceptance/test_engine_daemon.py", "crash/test_under_fire.py",
    "kernels/test_interpreted.py", "acceptance/test_worker_life.py", "acceptance/test_reproduce.py",
    "ui/test_browser.py", "acceptance/test_devices.py",
)  # fmt: skip
"""Files that take a minute and more, the longest first. A process that is given one last works on alone."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, all others as they were found."""
    first = {Path(__file__).parent / name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: first.get(item.path, len(LONG)))


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
