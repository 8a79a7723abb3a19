"""What travels between daemon and workers: pydantic at the border, JSON only, no pickle.

Down: a Celery task named `TASK` on the queue of the device class with one `Dispatch`.
Up: entries of the Redis stream `UP`, each one field `m` with one `Message` as JSON.
Back channel: the key `stop_key(job)` holds a reason; workers read it in the same pipeline as a message up.
A message that was seen before, or of an older attempt than the job's, is ignored and counted: never an error.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

TASK = "searchd.dispatch"
UP = "searchd:up"
GROUP = "daemon"
LEASE_S = 15.0
BEAT_S = 2.0


def queue(device_class: str) -> str:
    """The Celery queue of a device class (`cpu`, `cuda`, or a named device)."""
    return f"searchd.{device_class}"


def own_queue(worker: str) -> str:
    """The Celery queue of one worker slot: a job whose checkpoint it has in memory. It looks here first."""
    return f"searchd:slot:{worker}"


def held(sha256: str) -> str:
    """A checkpoint's name in `holds`: how its SHA-256 begins."""
    return sha256[:16]


def claim_key(job: str) -> str:
    """Holds the newest attempt that a worker has begun; a task of the same or an older attempt is dropped."""
    return f"searchd:claim:{job}"


def stop_key(job: str) -> str:
    """Set by the daemon: the worker ends the job at its next report."""
    return f"searchd:stop:{job}"


def cut(seconds: float, why: str) -> str:
    """A reason in the stop key that ends a run on an instance and not the trial: it took longer than the winner's."""
    return f"cut at {seconds!r} s: {why}"


def cut_s(reason: str) -> float | None:
    """The seconds in a reason that `cut` made; None for any other reason."""
    words = reason.split(maxsplit=3)
    if words[:2] != ["cut", "at"] or len(words) < 3:
        return None
    try:
        return float(words[2])
    except ValueError:
        return None


def worker_key(name: str) -> str:
    """A hash with a time to live of `LEASE_S`: what a worker is and does (`WorkerInfo` as JSON in field `m`)."""
    return f"searchd:worker:{name}"


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="strings")


class CheckpointRef(Frozen):
    """A durable checkpoint: `path` relative to the study's artifact root, SHA-256 of the file, size in bytes."""

    step: int
    path: str
    sha256: str
    bytes: int


class ParentRef(Frozen):
    """Whose weights a trial begins with, morphed to its own config: the parent's configs, flat and nested, and its
    checkpoint of `step`; None when that is gone."""

    trial: int
    step: int
    config: dict[str, Any]
    nested: dict[str, Any] = Field(default_factory=dict)
    checkpoint: CheckpointRef | None = None


class JobSpec(Frozen):
    """One job as a worker sees it. A training function sees the steps one by one, never `until` or R."""

    id: str
    study: str
    trial: int
    attempt: int
    kind: Literal["train", "measure", "export", "describe"]
    since: int = 0
    until: int = 0
    config: dict[str, Any]
    nested: dict[str, Any] = Field(default_factory=dict)
    task: dict[str, Any]
    seed: int = 0
    objectives: tuple[str, ...] = ()
    checkpoint: CheckpointRef | None = None
    parent: ParentRef | None = None
    """train: asked for as long as the trial has no usable checkpoint of its own."""
    artifacts: str
    signature: str | None = None
    time_limit_s: float | None = None
    cap_s: float | None = None
    """train, on an instance: seconds after which the run has lost its race."""
    study_seed: int = 0
    runtime: str = ""
    """measure, export: what times the models (`onnxruntime`, `torch`, `torch-cuda`); empty: ONNX Runtime."""
    profile: dict[str, Any] | None = None
    """measure: not this config but a device's profile, `operators` alone and whole `architectures` (an old worker,
    which does not know it, measures the config and is found out by its result)."""
    points: tuple[dict[str, Any], ...] = ()
    """export: the operating points whose numbers are taken again, each with `point` and what selects it."""
    costs: tuple[float, ...] = ()
    """train: cumulative latency up to each exit in ms, where it was measured for this shape."""


class Dispatch(Frozen):
    """What one Celery message carries: today one job. The lease is per dispatch, the attempt per job."""

    id: str
    jobs: tuple[JobSpec, ...]
    lease_s: float = LEASE_S


class _Up(Frozen):
    study: str
    job: str
    trial: int
    attempt: int
    worker: str = ""


class Begun(_Up):
    """The worker claimed the job and starts it on `device` (its identity: class, model, runtime).

    `warm`: its process has the checkpoint in memory.
    """

    kind: Literal["begun"] = "begun"
    device: str = ""
    warm: bool = False


class Beat(_Up):
    """The job is alive: renews its lease."""

    kind: Literal["beat"] = "beat"


class Inherited(Frozen):
    """How a trial that has a parent began: with its weights (`ok`), or from nothing, and why."""

    ok: bool
    reason: str = ""


class Report(_Up):
    """Metrics at a step; `points` one mapping an operating point; `seconds` of training since the last report.

    `inherited`: in the first report of a job that began with step 1 of a trial that has a parent.
    """

    kind: Literal["report"] = "report"
    step: int
    metrics: dict[str, float] = Field(default_factory=dict)
    points: tuple[dict[str, Any], ...] = ()
    seconds: float = 0.0
    energy_j: float | None = None
    """Joules that the device spent since the last report, whoever used it; None: no counter there can be read."""
    checkpoint: CheckpointRef | None = None
    """A checkpoint that is durable at this step, if one was written."""
    inherited: Inherited | None = None


Outcome = Literal["finished", "lost", "failed", "stopped"]


class Ended(_Up):
    """One of the four ends of a job. `reason` is a short word for a person (`oom`, `exception`, `diverged`,
    `time limit`, `worker shut down`), `error` the captured traceback. `result`: what a job found."""

    kind: Literal["ended"] = "ended"
    outcome: Outcome
    step: int = 0
    reason: str = ""
    error: str = ""
    checkpoint: CheckpointRef | None = None
    result: dict[str, Any] | None = None
    seconds: float = 0.0
    holds: tuple[str, ...] = ()
    """The checkpoints that the worker has in memory now (`held`)."""


Message = Annotated[Begun | Beat | Report | Ended, Field(discriminator="kind")]
message_adapter: TypeAdapter[Begun | Beat | Report | Ended] = TypeAdapter(Message)


def encode(message: Begun | Beat | Report | Ended) -> str:
    """One message as JSON (NaN and infinity as strings)."""
    return message.model_dump_json()


def decode(text: str | bytes) -> Begun | Beat | Report | Ended:
    """The message in `text`; raises pydantic's ValidationError when it is none."""
    return message_adapter.validate_json(text)


class WorkerInfo(Frozen):
    """What `searchd workers` and the page show of one worker slot."""

    name: str
    device_class: str
    device: str
    host: str
    pid: int
    child_pid: int | None = None
    state: Literal["idle", "busy", "starting", "stopping"] = "idle"
    job: str | None = None
    since: float = 0.0
    functions: tuple[str, ...] = ()
    holds: tuple[str, ...] = ()
    """The checkpoints that its process has in memory (`held`)."""
    facts: dict[str, str] = Field(default_factory=dict)
    """What figures taken there hold for: `runtime`, `driver`, `clocks`, `threads` (`workers.facts`)."""
    note: str = ""
    """Why its job stands still, for a person: a storage that does not answer."""
