"""The built-in task with a parent: a child begins where its parent ended, or from nothing and says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from searchd.wire import ParentRef
from workers.rehearse import Rehearsal, rehearse
from workers.tasks.classify import train

SMALL: dict[str, Any] = {
    "width": 8, "depth": 2, "kernel": 3, "bits": [8, 4], "exits": [0], "optimizer": {"name": "adamw", "lr": 5e-3},
}  # fmt: skip
LARGE: dict[str, Any] = {**SMALL, "width": 11, "depth": 3, "bits": [8, 4, 4]}


def go(config: dict[str, Any], folder: Path, until: int = 1, **more: Any) -> Rehearsal:
    return rehearse(train, config, until=until, kind="classify", objectives=["val_error"], folder=folder, **more)


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Rehearsal, ParentRef]:
    """A small network after 6 epochs; its folder; the same as a parent."""
    folder = tmp_path_factory.mktemp("parent")
    run = go(SMALL, folder, until=6)
    return folder, run, run.as_parent(SMALL)


@pytest.mark.parametrize("config", [SMALL | {"width": 13}, SMALL | {"depth": 3, "bits": [8, 4, 4]}, LARGE])
@pytest.mark.parametrize("optimizer", [{"name": "adamw", "lr": 5e-3}, {"name": "muon"}, {"name": "sgd", "lr": 0.02}])
def test_a_childs_first_report_beats_a_fresh_start(
    grown: tuple[Path, Rehearsal, ParentRef], config: dict[str, Any], optimizer: dict[str, Any]
) -> None:
    """Wider, deeper or both, whatever optimizer: after one epoch its error is far below that of the same config from
    nothing, and near its parent's."""
    folder, run, parent = grown
    said = {**config, "optimizer": optimizer}
    child = go(said, folder, parent=parent, number=1).reports[0]
    alone = go(said, folder, number=2).reports[0]
    assert child.inherited is not None
    assert child.inherited.ok, child.inherited.reason
    assert child.metrics["val_error"] < alone.metrics["val_error"] / 2
    assert child.metrics["val_error"] < run.reports[-1].metrics["val_error"] + 5


def test_a_child_is_the_same_each_time(grown: tuple[Path, Rehearsal, ParentRef]) -> None:
    """Begun twice, and in two jobs: the same numbers, bit by bit, so that a crash changes nothing."""
    folder, _, parent = grown
    once = go(LARGE, folder, until=3, parent=parent, number=3)
    first = go(LARGE, folder, until=1, parent=parent, number=4)
    rest = go(LARGE, folder, until=3, parent=parent, number=4, resume=first)
    assert [r.metrics for r in first.reports + rest.reports] == [r.metrics for r in once.reports]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (SMALL | {"width": 4}, "only ever made wider"),
        (SMALL | {"kernel": 5}, "only width, depth and exits"),
        (SMALL | {"depth": 3, "bits": [8, 4, 8]}, "only width, depth and exits"),
    ],
)
def test_what_does_not_fit_begins_from_nothing(
    grown: tuple[Path, Rehearsal, ParentRef], config: dict[str, Any], words: str
) -> None:
    """Bit by bit as without a parent, and the first report says why."""
    folder, _, parent = grown
    child = go(config, folder, parent=parent, number=5).reports[0]
    alone = go(config, folder, number=6).reports[0]
    assert child.metrics == alone.metrics
    assert child.inherited is not None
    assert not child.inherited.ok
    assert words in child.inherited.reason


def test_a_checkpoint_of_another_network_does_not_fit(grown: tuple[Path, Rehearsal, ParentRef]) -> None:
    """A parent's config that is not that of its weights is found, and nothing of it is used."""
    folder, _, parent = grown
    lied = parent.model_copy(update={"nested": SMALL | {"width": 9}})
    child = go(LARGE, folder, parent=lied, number=7).reports[0]
    assert child.metrics == go(LARGE, folder, number=8).reports[0].metrics
    assert child.inherited is not None
    assert "does not fit" in child.inherited.reason
