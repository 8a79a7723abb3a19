"""The examples of user tasks run as they stand, and go on from their checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spaces.study import Study
from tests.support.broker import Broker
from tests.support.fleet import ROOT, Fleet

pytestmark = pytest.mark.acceptance
EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def fleet(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    broker.flush()
    folder = tmp_path_factory.mktemp("fleet")
    with Fleet(broker, folder, allow="my_task:*", path=EXAMPLES) as fleet:
        fleet.ready()
        yield fleet


@pytest.mark.parametrize("name", ["my_task", "my_command"])
def test_an_example_trains_and_goes_on(fleet: Fleet, name: str) -> None:
    """In two jobs an example reports what it reports in one, learns something, and says every objective, some of them
    before it is trained."""
    study = Study.load(EXAMPLES / f"{name}.yaml")
    config = study.space.sample(np.random.default_rng(0))
    fields: dict[str, Any] = {
        "task": study.task.model_dump(mode="json"), "config": config.flat(), "nested": study.space.nested(config),
        "seed": 7,
    }  # fmt: skip
    exact: dict[str, float] = {}
    if study.task.describe:
        told = fleet.ended(fleet.send(fleet.job(kind="describe", until=0, **fields)))
        assert told.outcome == "finished", told.error
        exact = (told.result or {})["metrics"]
    fields["objectives"] = tuple(o.name for o in study.objectives if o.name not in exact)
    whole = fleet.send(fleet.job(until=4, **fields))
    assert fleet.ended(whole).outcome == "finished", fleet.ended(whole).error
    first = fleet.send(fleet.job(until=2, **fields))
    ended = fleet.ended(first)
    assert ended.checkpoint is not None
    second = first.model_copy(update={"id": first.id + "b", "since": 2, "until": 4, "checkpoint": ended.checkpoint})
    fleet.send(second)
    assert fleet.ended(second).outcome == "finished"
    parts = [r.metrics for r in fleet.reports(first.id) + fleet.reports(second.id)]
    assert parts == [r.metrics for r in fleet.reports(whole.id)]
    assert {o.name for o in study.objectives} <= {*parts[-1], *exact}
    assert parts[-1]["val_error"] < 60


def test_examples_are_as_short_as_promised() -> None:
    """A user's training function fits on a page."""
    assert len(Path(EXAMPLES / "my_task.py").read_text().splitlines()) < 70
