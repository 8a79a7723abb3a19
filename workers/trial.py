"""What a training function holds.

    def train(trial):
        model, optimizer = build(trial.config)
        trial.load(model, optimizer)
        for step in trial.steps():
            ...                                   # one step of training, in the study's unit
            trial.report(accuracy=accuracy)
            trial.save(model, optimizer)

The function never sees how far it is to go: `steps()` ends when this job's part is done, when the user stopped the
trial, or when the worker is shut down. A step is *closed* when the loop asks for the next one: then its report goes
out, and with it the checkpoint where one is due. A function that does not call `load` starts from step 1 each time
and its early reports are not sent again; so a function without checkpoints is right too, only slower.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from searchd.storage import Storage
from searchd.wire import CheckpointRef, Inherited, JobSpec
from spaces.schedules import at_step
from workers.checkpoints import KEEP, Checkpoints
from workers.kept import Kept
from workers.parent import Parent
from workers.patience import NoSpace, patiently
from workers.state import random_states, restore, restore_random_states, set_settings, settings, snapshot, stateful
from workers.wanted import missing

log = logging.getLogger("searchd.worker")

SAVE_EVERY_S = 1.0
"""Between two checkpoints that only guard against a crash; those at the end of a job are always written."""
SAVE_SHARE = 20.0
"""Such a checkpoint waits at least this many times what the last one cost: at most 5 % of the time goes there."""


@dataclass(frozen=True, slots=True)
class Request:
    """Somebody wants the job to end: `stop` (the trial is given up) or `halt` (this worker goes away)."""

    kind: Literal["stop", "halt"]
    reason: str


class Link(Protocol):
    """The way from a trial to its slot."""

    def report(
        self, step: int, metrics: Mapping[str, float], points: Sequence[Mapping[str, Any]], seconds: float,
        checkpoint: CheckpointRef | None, inherited: Inherited | None = None, *, last: bool = False,
    ) -> bool:  # fmt: skip
        """Hand one report over; returns when the slot has it, of the job's `last` one at once. False: it was not sent
        on yet."""
        ...

    def request(self) -> Request | None:
        """What was asked of this job so far; never blocks."""
        ...

    def note(self, text: str) -> None:
        """Why the job stands still, for whoever looks at the workers; empty: it goes on."""
        ...


class Ending(BaseException):
    """Ends the job from inside the user's loop. Not an Exception, so `except Exception` does not swallow it."""

    def __init__(self, outcome: Literal["failed", "stopped", "lost"], reason: str, error: str = "") -> None:
        self.outcome = outcome
        self.reason = reason
        self.error = error
        super().__init__(reason)


class Trial:
    """One job of one trial, seen from a training function."""

    def __init__(
        self, spec: JobSpec, link: Link, root: Path, kept: Kept | None = None, storage: Storage | None = None
    ) -> None:
        self.config: dict[str, Any] = spec.nested
        """The configuration, nested: `{"width": 16, "optimizer": {"name": "sgd", "lr": 0.1}}`."""
        self.flat: dict[str, Any] = spec.config
        """The same under flat names: `{"width": 16, "optimizer": "sgd", "optimizer.sgd.lr": 0.1}`."""
        self.number = spec.trial
        self.seed = spec.seed
        """The trial's own seed. Python, NumPy and torch were seeded with it just before the function was called."""
        self.options: dict[str, Any] = dict(spec.task.get("options") or {})
        """What the study file says beside the task's name (`task: {classify: {data: digits}}`)."""
        self.objectives = spec.objectives
        self.study_seed = spec.study_seed
        """The study's seed: what is the same for all its trials may be drawn from it."""
        self.costs = spec.costs
        """Latency in ms up to each exit of a network of this shape, where it was measured before; else empty."""
        self.predictor = spec.predictor
        """What predicts the latency of a network by its operators (`spaces.predictor`), as JSON; None: time it."""
        self.cap_s = spec.cap_s
        """Seconds after which a run on an instance has lost its race; None: nobody has solved it yet."""
        self.files = root / "trials" / str(spec.trial)
        """A folder for this trial's files; it stays for its later jobs."""
        self.step = 0
        """The step that runs now (or ran last)."""
        self._spec = spec
        self._link = link
        self._root = root
        self._checkpoints = Checkpoints(
            root if storage is None else storage, spec.trial, spec.attempt, spec.checkpoint, kept, root
        )
        self._parent = None if spec.parent is None else Parent(spec.parent, self._checkpoints)
        self._loaded_step = 0
        self._random: Mapping[str, Any] | None = None
        self._durable: CheckpointRef | None = None
        self._unsent: CheckpointRef | None = None
        self._open = False
        self._started = False
        self._closed_at = time.monotonic()
        self._wrote_at = self._closed_at
        self._write_cost_s = 0.0
        self._saved_step = 0
        self._saved: dict[str, Any] | None = None
        self._metrics: dict[str, float] = {}
        self._points: tuple[dict[str, Any], ...] = ()
        self._told = False
        self._reported = False
        try:
            patiently(lambda: self.files.mkdir(parents=True, exist_ok=True), lambda: link.request() is not None)
        except NoSpace as error:
            raise Ending("lost", str(error)) from error

    # what a training function calls

    def load(self, *objects: Any, **named: Any) -> dict[str, Any]:
        """Restore what an earlier job saved: stateful objects in place; answers the other saved values by name.

        Nothing saved yet (or nothing usable): the objects stay as they are and the answer is empty. Of a trial that
        took over another's weights: an optimizer keeps the settings that it was built with (its learning rate).
        Give the objects as they were given to `save`.
        """
        wanted = _by_name(objects, named)
        found = self._checkpoints.usable(self._spec.checkpoint)
        if found is None:
            return {}
        reference, tree = found
        saved = tree["objects"]
        absent = sorted(set(wanted) - set(saved))
        if absent:
            raise KeyError(
                f"the checkpoint of step {reference.step} has {', '.join(sorted(saved))} and no {', '.join(absent)}; "
                "load the same objects, under the same names, that were saved"
            )
        inherited = Path(reference.path).parent.name != str(self.number)
        for name, value in wanted.items():
            if stateful(value):
                own = settings(value)
                restore(value, saved[name])
                if inherited:  # the weights of another trial, trained on with this one's learning rate
                    set_settings(value, own)
        self._random = None if inherited else tree["random"]
        self._loaded_step = reference.step
        self._durable = reference
        return {name: value for name, value in saved.items() if not stateful(wanted.get(name))}

    def resume_file(self) -> tuple[int, Path | None]:
        """For a task that restores itself: (steps behind it, the verified checkpoint file); (0, None) at the start."""
        found = self._checkpoints.usable_file(self._spec.checkpoint)
        if found is None:
            return 0, None
        reference, file = found
        self._loaded_step = reference.step
        self._durable = reference
        return reference.step, file

    @property
    def parent(self) -> Parent | None:
        """The trial whose weights, morphed, this one is to begin with; None for most trials, and once `load` found what
        this trial saved itself."""
        return None if self._loaded_step else self._parent

    def steps(self) -> Iterator[int]:
        """The steps to train now, one by one: after the loaded checkpoint, or from 1."""
        if self._started:
            raise RuntimeError("trial.steps() was called twice; a job has one loop over its steps")
        self._started = True
        if self._spec.since > self._loaded_step:
            log.info("nothing loaded: from step 1 again, reports up to step %d are not sent twice", self._spec.since)
        if self._random is not None:
            restore_random_states(self._random)
        self.step = self._saved_step = self._loaded_step
        self._closed_at = self._wrote_at = time.monotonic()
        for step in range(self._loaded_step + 1, self._spec.until + 1):
            if self._link.request() is not None:
                return
            self.step, self._open = step, True
            yield step
            self.close()

    def at(self, step: int | None = None) -> dict[str, Any]:
        """`config` while `step` trains (the step that runs now, if not given): each schedule is a number there."""
        return at_step(self.config, max(self.step, 1) if step is None else step)

    def jump(self) -> int:
        """The last step of this job alone, opened; for a task whose steps do not build on one another."""
        if self._started:
            raise RuntimeError("trial.jump() takes the place of trial.steps(); a job has one of them")
        self._started = self._open = True
        self.step = self._spec.until
        self._closed_at = self._wrote_at = time.monotonic()
        return self.step

    def report(
        self, metrics: Mapping[str, Any] | None = None, /, *, points: Sequence[Mapping[str, Any]] | None = None,
        **named: Any,
    ) -> None:  # fmt: skip
        """Metrics after this step, by name, in your own sense (accuracy up, error down). Calls in one step add up.

        `points`: the operating points of the model (exit thresholds, say), one mapping each, laid over the metrics.
        """
        if not self._open:
            raise RuntimeError("trial.report() belongs inside `for step in trial.steps():`, where a step is open")
        if metrics is not None and not isinstance(metrics, Mapping):
            raise TypeError(f"trial.report({metrics!r}, …): metrics go by name, as in trial.report(accuracy=0.9)")
        for name, value in {**(metrics or {}), **named}.items():
            self._metrics[str(name)] = plain_number(str(name), value)
        if points is not None:
            self._points = tuple({str(k): _plain(f"points.{k}", v) for k, v in p.items()} for p in points)

    def save(self, *objects: Any, **named: Any) -> None:
        """Offer the state after this step: modules, optimizers, generators, arrays, plain values.

        Cheap to call at every step: a file is written when it matters (the job ends, is stopped, or about a second
        has passed), at the moment when the step is closed. The global random states are saved along.
        """
        if not self._open:
            raise RuntimeError("trial.save() belongs inside `for step in trial.steps():`, where a step is open")
        self._saved = _by_name(objects, named)

    @property
    def last(self) -> bool:
        """Whether the step that runs is the last of this job: a good moment for what is dear to evaluate. Training must
        not depend on it, for a trial may go on in another job."""
        return self.step >= self._spec.until

    @property
    def stopping(self) -> bool:
        """Whether this job was asked to end; a long step may look at it and leave early."""
        return self._link.request() is not None

    @property
    def request(self) -> Request | None:
        """What was asked of this job, with the reason."""
        return self._link.request()

    # what the worker calls

    def close(self) -> None:
        """Close the open step: write the checkpoint if it is due, send the report, end the job if it diverged."""
        if not self._open:
            return
        self._open = False
        metrics, points, offered = self._metrics, self._points, self._saved
        self._metrics, self._points, self._saved = {}, (), None
        last = self.step >= self._spec.until
        first = bool(metrics or points) and not self._reported
        self._reported |= first
        kind = str(self._spec.task.get("kind"))
        if wrong := missing(kind, self.objectives, self.step, metrics, points, first=first, last=last):
            raise Ending("failed", "no objective reported", wrong)
        diverged = self._diverged(metrics, points)
        if offered is not None and not diverged:
            if last or self._link.request() is not None or self._guard_due():
                self._write(offered)
                offered = None
            self._saved_step = self.step
        if metrics or points:
            self._send(metrics, points)
        if diverged:
            raise Ending("failed", "diverged", f"step {self.step}: {diverged} is not a finite number")
        if offered is not None and self._link.request() is not None:
            self._write(offered)

    def abandon(self) -> None:
        """After an error in the middle of a step: its report goes out, its half-trained state does not."""
        if self._open and (self._metrics or self._points):
            self._open = False
            self._send(self._metrics, self._points)

    @property
    def durable(self) -> CheckpointRef | None:
        """The newest checkpoint that this job wrote or began from."""
        return self._durable

    @property
    def spent_s(self) -> float:
        """Seconds since the last report."""
        return time.monotonic() - self._closed_at

    @property
    def checkpoints(self) -> Checkpoints:
        """The trial's checkpoint files (for tasks that keep their own)."""
        return self._checkpoints

    def checkpointed(self, reference: CheckpointRef) -> None:
        """A checkpoint that was written by other means than `save`; it goes out with the next report."""
        self._durable = self._unsent = reference

    def _guard_due(self) -> bool:
        """A checkpoint against crashes: time for one, or the function saves so rarely that each one counts."""
        rare = self.step != self._saved_step + 1
        if self._checkpoints.ahead >= KEEP:  # the daemon does not know them yet, and none may be removed before it does
            return False
        return rare or time.monotonic() - self._wrote_at >= max(SAVE_EVERY_S, SAVE_SHARE * self._write_cost_s)

    def _write(self, offered: Mapping[str, Any]) -> None:
        began = time.monotonic()
        tree = {"objects": {n: snapshot(v) for n, v in offered.items()}, "random": random_states()}
        last = self.step >= self._spec.until
        try:
            reference = patiently(
                lambda: self._checkpoints.write(self.step, tree, keep=last),
                lambda: not last or self._link.request() is not None,
            )
        except NoSpace as error:
            log.warning("no checkpoint of step %d: %s", self.step, error)
            asked = self._link.request()
            if last and asked is not None and asked.kind == "halt":  # as if the step had not been: another worker's
                raise Ending("lost", asked.reason) from error
            return
        self.checkpointed(reference)
        self._wrote_at = time.monotonic()
        self._write_cost_s = self._wrote_at - began

    def _send(self, metrics: Mapping[str, float], points: Sequence[Mapping[str, Any]]) -> None:
        if self.step <= self._spec.since:
            return
        checkpoint, self._unsent = self._unsent, None
        inherited = None
        if self.parent is not None and not self._told:
            inherited, self._told = self.parent.outcome(), True
        last = self.step >= self._spec.until
        up = self._link.report(self.step, metrics, points, self.spent_s, checkpoint, inherited, last=last)
        if up and checkpoint is not None:
            self._checkpoints.known(checkpoint.step)
        self._closed_at = time.monotonic()

    def _diverged(self, metrics: Mapping[str, float], points: Sequence[Mapping[str, Any]]) -> str | None:
        """The first objective that is NaN or infinite: in the metrics, or in every point."""
        for name in self.objectives:
            if name in metrics and not math.isfinite(metrics[name]):
                return name
            said = [p[name] for p in points if isinstance(p.get(name), float)]
            if said and not any(math.isfinite(v) for v in said):
                return name
        return None


def _by_name(objects: tuple[Any, ...], named: Mapping[str, Any]) -> dict[str, Any]:
    """Positional objects under their place (`"0"`, `"1"`), named ones under their name."""
    return {**{str(i): v for i, v in enumerate(objects)}, **named}


def plain_number(name: str, value: Any) -> float:
    """A metric as a float: numbers, 0-d arrays and tensors. TypeError names the metric otherwise."""
    if hasattr(value, "item") and getattr(value, "size", None) != 0:
        try:
            value = value.item()
        except (ValueError, RuntimeError) as error:
            raise TypeError(f"metric {name} has more than one element; report a single number") from error
    if isinstance(value, int | float):
        return float(value)
    raise TypeError(f"metric {name} is {value!r}, a {type(value).__name__}; report a single number")


def _plain(name: str, value: Any, whole: bool = False) -> Any:
    """A value of a point as JSON-able data: numbers become floats, sequences lists; in mappings whole
    numbers stay (`whole`)."""
    if value is None or isinstance(value, str | bool) or (whole and type(value) is int):
        return value
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(name, v, whole) for v in value]
    if isinstance(value, Mapping):
        return {str(k): _plain(f"{name}.{k}", v, True) for k, v in value.items()}
    return plain_number(name, value)
