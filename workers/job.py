"""One job in the child: its task is looked up, run, and its end told apart: finished, lost, failed, stopped."""

from __future__ import annotations

import os
import time
import traceback
from dataclasses import dataclass
from typing import Any

from searchd.errors import Infeasible, Missing, NotFound, Refused, SearchdError
from searchd.lines import about
from searchd.wire import INFEASIBLE, OOM, REFUSED, CheckpointRef, JobSpec, Outcome
from workers.describe import describe
from workers.device import IDENTITY
from workers.facts import named
from workers.kept import Kept
from workers.place import place
from workers.state import seed_everything
from workers.tasks import Runner, resolve
from workers.trial import Ending, Link, Trial

ERROR_CHARS = 20_000
ENDED_EARLY = (
    "the training function returned after step {step} of a job that goes on; "
    "let its loop run over trial.steps() to the end"
)


@dataclass(frozen=True, slots=True)
class End:
    """How a job ended; the fields of `wire.Ended`."""

    outcome: Outcome
    step: int = 0
    reason: str = ""
    error: str = ""
    checkpoint: CheckpointRef | None = None
    result: dict[str, Any] | None = None
    seconds: float = 0.0


def run(
    spec: JobSpec, link: Link, allow: tuple[str, ...] = (), path: tuple[str, ...] = (), artifacts: str | None = None,
    kept: Kept | None = None,
) -> End:  # fmt: skip
    """Run one job to its end; never raises for what a task does. `artifacts`: the folder or URL that jobs may write in;
    `kept`: the checkpoints that this process still has in memory."""
    with about(study=spec.study, trial=spec.trial, job=spec.id, attempt=spec.attempt):
        return _run(spec, link, allow, path, artifacts, kept)


def _run(
    spec: JobSpec, link: Link, allow: tuple[str, ...], path: tuple[str, ...], artifacts: str | None,
    kept: Kept | None,
) -> End:  # fmt: skip
    began = time.monotonic()
    trial: Trial | None = None
    try:
        with place(spec.artifacts, artifacts, spec.trial, link) as here:
            runner = resolve(spec.task, allow, path)
            seed_everything(spec.seed)
            trial = Trial(spec, link, here.root, kept, here.storage)
            end = _by_kind(runner, trial, spec, link)
    except Ending as ending:
        end = End(ending.outcome, _step(trial), ending.reason, ending.error)
    except (Exception, SystemExit) as error:
        if trial is not None:
            trial.abandon()
        reason, text = explain(error)
        end = End("failed", _step(trial), reason, text)
    return End(
        end.outcome, end.step, end.reason, end.error, None if trial is None else trial.durable, end.result,
        time.monotonic() - began,
    )  # fmt: skip


def _by_kind(runner: Runner, trial: Trial, spec: JobSpec, link: Link) -> End:
    match spec.kind:
        case "train":
            if spec.given:
                from workers.reproduction import prepare  # with NumPy, which a child's start waits for no more

                prepare(trial, spec)
            runner.train(trial)
            trial.close()
            asked = link.request()
            if trial.step >= spec.until:
                return End("finished", trial.step)
            if asked is not None:
                return End("stopped" if asked.kind == "stop" else "lost", trial.step, asked.reason)
            return End("failed", trial.step, "ended early", ENDED_EARLY.format(step=trial.step))
        case "measure":
            if spec.profile is not None:
                result = dict(runner.profiled(spec))
            elif runner.measure is not None:
                result = dict(runner.measure(spec))
            else:
                raise Refused(f"task {runner.name} cannot be measured; only the built-in task can")
            if IDENTITY in os.environ:  # the name under which the daemon knows this slot's device, and looks it up
                result["device"] = named(os.environ[IDENTITY], spec.runtime)
            return End("finished", result=result)
        case "describe":
            if runner.describe is None:
                raise Refused(f"task {runner.name} says nothing of a config before it is trained; give it a `describe`")
            return End("finished", result=describe(runner.describe, trial))
        case "export":
            if runner.export is None:
                raise Refused(f"task {runner.name} cannot be exported; only the built-in task can")
            from workers.pace import patient
            from workers.reproduction import complete

            with patient() as waits:
                files = runner.export(trial, spec)
            exported = complete(trial, spec, files, runner.rests_on, waits.as_card())
            return End("finished", spec.until, result=exported)


def explain(error: BaseException) -> tuple[str, str]:
    """(a short word, the text for a person) of what a task raised; our own errors carry no traceback."""
    match error:
        case MemoryError():
            return OOM, _trace(error) or "out of memory"
        case RuntimeError() if type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error):
            return OOM, _trace(error)
        case Infeasible():
            return INFEASIBLE, str(error)
        case Refused():
            return REFUSED, str(error)
        case NotFound() | Missing():
            return "not found", str(error)
        case SearchdError():
            return "error", str(error)
        case SystemExit():
            return "exception", f"the training function called sys.exit({error.code!r}); return from it instead"
    return "exception", _trace(error)


def _trace(error: BaseException) -> str:
    """The traceback from the user's first frame on, its end when it is long."""
    frame = error.__traceback__
    while frame is not None and frame.tb_frame.f_globals.get("__name__") == __name__:
        frame = frame.tb_next
    try:
        lines = traceback.format_exception(type(error), error, frame)
    except MemoryError:
        return ""
    return "".join(lines)[-ERROR_CHARS:]


def _step(trial: Trial | None) -> int:
    return 0 if trial is None else trial.step


