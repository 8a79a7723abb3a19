"""A disk that is full, and a daemon that does not know yet: what becomes of checkpoints."""

from __future__ import annotations

import resource
import threading
from pathlib import Path

import pytest

from searchd.wire import JobSpec
from workers.checkpoints import KEEP, Checkpoints
from workers.rehearse import Rehearsal, rehearse
from workers.trial import Ending, Request, Trial


def test_the_checkpoint_that_a_job_ends_with_waits_for_space(tmp_path: Path) -> None:
    """The last step's checkpoint is written once there is space again, and the job is finished."""

    def train(trial: Trial) -> None:
        trial.load(count=0)
        for step in trial.steps():
            trial.report(error=1.0)
            trial.save(count=step)
            if step == 3:
                resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
                timer.start()

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    timer = threading.Timer(0.5, resource.setrlimit, (resource.RLIMIT_FSIZE, (soft, hard)))
    done = rehearse(train, {}, until=3, folder=tmp_path)
    timer.join()
    assert done.outcome == "finished"
    assert done.checkpoint is not None
    assert done.checkpoint.step == 3
    assert (tmp_path / done.checkpoint.path).stat().st_size == done.checkpoint.bytes
    assert [report.step for report in done.reports] == [1, 2, 3]


def test_a_checkpoint_on_the_way_does_not(tmp_path: Path) -> None:
    """One that only guards against a crash is left out while there is no space: training goes on."""

    def train(trial: Trial) -> None:
        for step in trial.steps():
            trial.report(error=1.0)
            if step == 2:  # rare saves are each due
                trial.save(count=step)
                resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
            if step == 3:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    done = rehearse(train, {}, until=4, folder=tmp_path)
    assert done.outcome == "finished"
    assert [report.checkpoint for report in done.reports] == [None] * 4


def test_a_worker_that_leaves_does_not_wait_for_space(tmp_path: Path) -> None:
    """Shut down while the last checkpoint waits: the job is lost, not finished without it, and goes on elsewhere."""

    asked = threading.Event()

    class Leaving(Rehearsal):
        def request(self) -> Request | None:
            return Request("halt", "worker shut down") if asked.is_set() else None

    link = Leaving(tmp_path)
    job = JobSpec(
        id="j", study="s", trial=0, attempt=1, kind="train", until=2, config={}, task={}, artifacts=str(tmp_path)
    )
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def train(trial: Trial) -> None:
        for step in trial.steps():
            trial.report(error=1.0)
            trial.save(count=step)
            if step == 2:
                resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
                threading.Timer(0.3, asked.set).start()

    trial = Trial(job, link, tmp_path)
    try:
        with pytest.raises(Ending) as end:
            train(trial)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (end.value.outcome, end.value.reason) == ("lost", "worker shut down")
    assert [report.step for report in link.reports] == [1]


def test_no_checkpoint_goes_before_a_newer_one_is_known(tmp_path: Path) -> None:
    """While reports wait for the broker, what the daemon knows last stays on the disk; afterwards the old ones go."""
    kept = Checkpoints(tmp_path, trial=1, attempt=1)
    written = []
    for step in range(1, 6):
        written.append(kept.write(step, {"count": step}))
        if step <= 2:
            kept.known(step)
    here = [reference.step for reference in written if (tmp_path / reference.path).exists()]
    assert 2 in here
    assert kept.ahead == 3
    kept.known(5)
    written.append(kept.write(6, {"count": 6}))
    here = [reference.step for reference in written if (tmp_path / reference.path).exists()]
    assert here == [4, 5, 6], "the daemon may find that the report of step 5 came too late"
    assert len(here) == KEEP + 1
