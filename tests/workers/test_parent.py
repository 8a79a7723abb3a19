"""A training function and its parent: config and saved state, for a morph of its own; what is told of it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from searchd.wire import Inherited, ParentRef
from workers.parent import UNASKED
from workers.rehearse import Rehearsal, rehearse
from workers.trial import Trial


def train(trial: Trial) -> None:
    """`k` weights that count steps; a child begins with its parent's, the new ones 0."""
    own = trial.load(weights=None)
    weights = own.get("weights", np.zeros(trial.config["k"]))
    if trial.parent is not None and (saved := trial.parent.load()) is not None:
        weights[: trial.parent.config["k"]] = saved["weights"]
    for _ in trial.steps():
        weights = weights + 1
        trial.report(error=float(-weights.sum()))
        trial.save(weights=weights)


def careless(trial: Trial) -> None:
    for _ in trial.steps():
        trial.report(error=1.0)


@pytest.fixture
def parent(tmp_path: Path) -> ParentRef:
    return rehearse(train, {"k": 2}, until=3, folder=tmp_path).as_parent({"k": 2})


def begin(parent: ParentRef, until: int = 2, **more: Any) -> Rehearsal:
    return rehearse(train, {"k": 4}, until=until, folder=more.pop("folder"), parent=parent, number=1, **more)


def test_a_child_begins_with_what_its_parent_saved(parent: ParentRef, tmp_path: Path) -> None:
    """Two weights of 3 and two of 0, then steps of its own from 1; the first report, and only that one, says so."""
    run = begin(parent, folder=tmp_path)
    assert [r.step for r in run.reports] == [1, 2]
    assert [r.metrics["error"] for r in run.reports] == [-(4 + 4 + 1 + 1), -(5 + 5 + 2 + 2)]
    assert [r.inherited for r in run.reports] == [Inherited(ok=True), None]


def test_a_child_goes_on_with_its_own(parent: ParentRef, tmp_path: Path) -> None:
    """Once it saved something itself it has no parent any more; when that is damaged, it begins as it did."""
    first = begin(parent, folder=tmp_path)
    assert first.checkpoint is not None
    later = begin(parent, until=3, folder=tmp_path, resume=first)
    assert [(r.step, r.metrics["error"], r.inherited) for r in later.reports] == [(3, -18.0, None)]
    for path in (tmp_path / "trials" / "1").glob("ckpt-*.safetensors"):
        path.write_bytes(b"not what was written")
    again = begin(parent, until=3, folder=tmp_path, resume=first)
    assert [(r.step, r.metrics["error"]) for r in again.reports] == [(3, -18.0)]
    assert again.reports[0].inherited == Inherited(ok=True)


def test_the_parent_is_left_as_it_was(parent: ParentRef, tmp_path: Path) -> None:
    """A child writes nothing into its parent's folder and takes nothing away."""
    before = {p: p.read_bytes() for p in (tmp_path / "trials" / "0").iterdir()}
    begin(parent, until=5, folder=tmp_path)
    assert {p: p.read_bytes() for p in (tmp_path / "trials" / "0").iterdir()} == before


@pytest.mark.parametrize("how", ["damaged", "removed", "never there"])
def test_a_parent_without_a_usable_checkpoint(
    parent: ParentRef, tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The child begins from nothing, as it would have without a parent, and both the log and the report say why."""
    assert parent.checkpoint is not None
    file = tmp_path / parent.checkpoint.path
    match how:
        case "damaged":
            file.write_bytes(file.read_bytes()[:-1] + b"?")
        case "removed":
            file.unlink()
        case _:
            parent = parent.model_copy(update={"checkpoint": None})
    with caplog.at_level(logging.WARNING):
        run = begin(parent, folder=tmp_path)
    alone = rehearse(train, {"k": 4}, until=2, folder=tmp_path / "alone", number=1)
    assert [r.metrics for r in run.reports] == [r.metrics for r in alone.reports]
    told = run.reports[0].inherited
    assert told is not None
    assert not told.ok
    words = {"damaged": "is damaged", "removed": "cannot be read", "never there": "has no checkpoint of step 3"}
    assert words[how] in told.reason
    assert words[how] in caplog.text


def test_a_task_that_never_looks_is_told(parent: ParentRef, tmp_path: Path) -> None:
    """A function that does not ask for its parent's weights begins from nothing, and the log must not say otherwise."""
    run = rehearse(careless, {"k": 4}, until=1, folder=tmp_path, parent=parent, number=1)
    assert run.reports[0].inherited == Inherited(ok=False, reason=UNASKED)


def test_most_trials_have_none(tmp_path: Path) -> None:
    """Without a parent nothing is there and nothing is said."""
    seen: list[Any] = []

    def look(trial: Trial) -> None:
        seen.append(trial.parent)
        careless(trial)

    assert rehearse(look, {}, folder=tmp_path).reports[0].inherited is None
    assert seen == [None]
