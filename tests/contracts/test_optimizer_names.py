"""What a study may name as an optimizer is what the worker builds."""

from __future__ import annotations

import pytest

from spaces.optimizers import OPTIMIZERS


def test_the_reader_and_the_worker_know_the_same_optimizers() -> None:
    """The names that a study is checked against are those of the worker's builders."""
    optimizers = pytest.importorskip("workers.optimizers")
    assert set(optimizers.BUILDERS) == set(OPTIMIZERS)
