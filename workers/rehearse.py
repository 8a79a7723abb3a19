"""Try a training function here and now, without a service: the same Trial, its reports in a list.

    from workers.rehearse import rehearse
    run = rehearse(train, {"lr": 0.1}, until=3)
    run.reports[-1].metrics, run.outcome
    run = rehearse(train, {"lr": 0.1}, until=9, resume=run)      # goes on from run's checkpoint
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from searchd.wire import CheckpointRef, Inherited, JobSpec, ParentRef, Report
from workers.kept import Kept
from workers.state import seed_everything
from workers.trial import Ending, Request, Trial


@dataclass(slots=True)
class Rehearsal:
    """What a rehearsed job did: a link that keeps what a slot would send on."""

    folder: Path
    reports: list[Report] = field(default_factory=list)
    outcome: str = ""
    reason: str = ""
    error: str = ""
    checkpoint: CheckpointRef | None = None
    asked: Request | None = None
    stop_at: int | None = None

    def report(
        self, step: int, metrics: Mapping[str, float], points: Sequence[Mapping[str, Any]], seconds: float,
        checkpoint: CheckpointRef | None, inherited: Inherited | None = None, *, last: bool = False,  # noqa: ARG002
    ) -> bool:  # fmt: skip
        self.reports.append(
            Report(
                study="rehearsal", job="rehearsal", trial=0, attempt=1, step=step, metrics=dict(metrics),
                points=tuple(dict(p) for p in points), seconds=seconds, checkpoint=checkpoint,
                inherited=inherited,
            )
        )
        if self.stop_at is not None and step >= self.stop_at:
            self.asked = Request("stop", "rehearsed stop")
        return True

    def request(self) -> Request | None:
        return self.asked

    def note(self, text: str) -> None:
        """Nobody looks."""

    def as_parent(self, config: Mapping[str, Any], number: int = 0) -> ParentRef:
        """This rehearsal, of trial `number` over `config`, as the parent of another one."""
        step = 0 if self.checkpoint is None else self.checkpoint.step
        return ParentRef(trial=number, step=step, config=dict(config), nested=dict(config), checkpoint=self.checkpoint)


def rehearse(
    function: Callable[[Trial], object], config: Mapping[str, Any], *, until: int = 1, seed: int = 0,
    objectives: Sequence[str] = (), options: Mapping[str, Any] | None = None, folder: Path | None = None,
    resume: Rehearsal | None = None, stop_at: int | None = None, kind: str = "function", kept: Kept | None = None,
    parent: ParentRef | None = None, number: int = 0, predictor: Mapping[str, Any] | None = None,
) -> Rehearsal:  # fmt: skip
    """Call `function` with a Trial over `config` (nested, as training functions read it), up to step `until`.

    `stop_at`: ask for a stop after the report of that step. `kept`: what this process holds in memory of earlier
    rehearsals, as a warm one does. `parent`: whose weights it is to begin with (`Rehearsal.as_parent`), in the same
    folder under another `number`. `predictor`: what latencies of its networks are predicted by. Without a `folder` its
    files go when this process ends. Exceptions of the function come through as they are.
    """
    root = folder or (_own_folder() if resume is None else resume.folder)
    checkpoint = resume.checkpoint if resume is not None else None
    spec = JobSpec(
        id="rehearsal", study="rehearsal", trial=number, attempt=1, kind="train",
        since=checkpoint.step if checkpoint else 0, until=until, config=dict(config), nested=dict(config),
        task={"kind": kind, "options": dict(options or {})}, seed=seed, objectives=tuple(objectives),
        checkpoint=checkpoint, parent=parent, artifacts=str(root),
        predictor=None if predictor is None else dict(predictor),
    )  # fmt: skip
    run = Rehearsal(root, stop_at=stop_at)
    seed_everything(seed)
    trial = Trial(spec, run, root, kept)
    try:
        function(trial)
        trial.close()
        run.outcome = "stopped" if run.asked is not None and trial.step < until else "finished"
    except Ending as ending:
        run.outcome, run.reason, run.error = ending.outcome, ending.reason, ending.error
    run.checkpoint = trial.durable
    return run


def _own_folder() -> Path:
    """A temporary folder that goes when this process ends."""
    root = Path(tempfile.mkdtemp(prefix="rehearsal-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    return root
