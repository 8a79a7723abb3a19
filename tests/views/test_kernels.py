"""A trial's kernels: as its measurement said, else by arithmetic for what its study is measured with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from searchd import views
from searchd.cli.studies import _detail
from searchd.store import open_store
from searchd.store.base import Store
from tests.support.stores import study_row, trial_row

S = "digits-1"
SPEC: dict[str, Any] = {
    "study": "bits", "space": {"width": {"const": 8}, "bits": {"choice": [3, 4]}},
    "objectives": {"val_error": "minimize", "latency_ms": "minimize"}, "task": {"classify": {"data": "iris"}},
}  # fmt: skip
THREE = "3 bits, linear: runs at 8, no kernel of 3 bits in onnxruntime (blocks.0, blocks.1)"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(tmp_path / "study.db")
    with opened.transaction() as t:
        t.add_study(study_row(spec=SPEC, artifacts=str(tmp_path)))
        t.put_trial(trial_row(0, config={"width": 8, "bits": 3}, signature="sig"))
    yield opened
    opened.close()


def kernels(store: Store) -> Any:
    with store.reading() as r:
        return views.trial(r, S, 0)["kernels"]


def test_before_it_is_measured(store: Store) -> None:
    """What is expected, of the runtime that the study has."""
    said = kernels(store)
    assert (said["runtime"], said["measured"], said["lines"][0]) == ("onnxruntime", False, THREE)
    with store.transaction() as t:
        t.set_study(S, spec={**SPEC, "runtime": "torch"})
    said = kernels(store)
    assert (said["runtime"], said["measured"]) == ("torch", False)
    assert "lowbit_linear where the device has its kernel" in said["lines"][0]


def test_as_it_was_measured(store: Store) -> None:
    """The record of its signature; one of another, or without kernels (an older worker's), is none."""
    event = {"event": "measured", "signature": "sig", "kernels": ["a", "b"]}
    with store.transaction() as t:
        t.append(S, "told", {**event, "signature": "other"}, 1.0)
        t.append(S, "told", {"event": "measured", "signature": "sig"}, 1.0)
    assert not kernels(store)["measured"]
    with store.transaction() as t:
        t.append(S, "told", event, 2.0)
    assert kernels(store) == {"runtime": "onnxruntime", "measured": True, "lines": ["a", "b"]}


def test_a_task_without_bits(store: Store) -> None:
    """Nothing."""
    with store.transaction() as t:
        t.set_study(S, spec={**SPEC, "task": "a.b:train", "objectives": {"loss": "minimize"}})
    assert kernels(store) is None


def test_a_terminal_shows_them(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """A trial's whole life has the lines, and whether that is what ran."""
    with store.reading() as r:
        _detail(views.trial(r, S, 0))
    out = " ".join(capsys.readouterr().out.split())
    assert f"kernels of onnxruntime, as expected, not measured yet: {THREE}" in out
