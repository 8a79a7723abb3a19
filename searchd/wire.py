"""What travels between daemon and workers: pydantic at the border, JSON only, no pickle.

Down: a Celery task named `TASK` on the queue of the device class with one `Dispatch`.
Up: entries of the Redis stream `UP`, each one field `m` with one `Message` as JSON.
Back channel: the key `stop_key(job)` holds a reason; workers read it in the same pipeline as a message up.
A message that was seen before, or of an older attempt than the job's, is ignored and counted: never an error.
One that no worker would send (names with control characters, numbers that no column holds, megabytes) is none.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

TASK = "searchd.dispatch"
UP = "searchd:up"
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


def fence_key(job: str) -> str:
    """Holds the newest attempt that the daemon sent out: whoever still runs an older one lets it go."""
    return f"searchd:fence:{job}"


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


LARGEST = 8 << 20
"""Bytes of one message."""
MOST = 4096
"""Metrics of a report, points, checkpoints in memory."""
BIGGEST = 2**53
Name = Annotated[str, StringConstraints(max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")]
"""An id or a name: one line of text, since it goes into rows, keys and logs."""
Number = Annotated[int, Field(ge=0, le=BIGGEST)]


def plain(value: Any, left: int = 40) -> Any:
    """JSON as it is, where every part can hold it: ValueError for numbers of more than 64 bits and deep nests."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError("a number of more than 64 bits")
    if isinstance(value, dict | list | tuple):
        if left == 0:
            raise ValueError("nested deeper than 40")
        for inner in value.values() if isinstance(value, dict) else value:
            plain(inner, left - 1)
    return value


Plain = AfterValidator(plain)


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="strings")


class CheckpointRef(Frozen):
    """A durable checkpoint: `path` relative to the study's artifact root, SHA-256 of the file, size in bytes."""

    step: Number
    path: Name
    sha256: Name
    bytes: Number


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
    low_bit: bool = False
    """measure, export, by torch: layers run by kernels of few bits where the device has them; the signature tells their
    bits apart."""
    profile: dict[str, Any] | None = None
    """measure: not this config but a device's profile, `operators` alone and whole `architectures` (an old worker,
    which does not know it, measures the config and is found out by its result)."""
    points: tuple[dict[str, Any], ...] = ()
    """export: the operating points whose numbers are taken again, each with `point` and what selects it."""
    predictor: dict[str, Any] | None = None
    """train: what the latencies of a trial's networks are predicted by (`spaces.predictor`); None: it times them."""
    costs: tuple[float, ...] = ()
    """train: cumulative latency up to each exit in ms, where it was measured for this shape."""
    given: dict[str, Any] = Field(default_factory=dict)
    """train: JSON files that the trial's folder gets before it begins, by name."""
    reproduce: dict[str, Any] | None = None
    """export: the study that trains this trial again, and selects `points`; the worker adds what it finds out."""


class Dispatch(Frozen):
    """What one Celery message carries: today one job. The lease is per dispatch, the attempt per job."""

    id: str
    jobs: tuple[JobSpec, ...]
    lease_s: float = LEASE_S


class _Up(Frozen):
    study: Name
    job: Name
    trial: Number
    attempt: Number
    worker: Name = ""


class Begun(_Up):
    """The worker claimed the job and starts it on `device` (its identity: class, model, runtime).

    `warm`: its process has the checkpoint in memory.
    """

    kind: Literal["begun"] = "begun"
    device: Name = ""
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
    step: Number
    metrics: dict[Name, float] = Field(default_factory=dict, max_length=MOST)
    points: Annotated[tuple[dict[Name, Any], ...], Plain, Field(max_length=MOST)] = ()
    seconds: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    energy_j: float | None = Field(default=None, allow_inf_nan=False)
    """Joules that the device spent since the last report, whoever used it; None: no counter there can be read."""
    checkpoint: CheckpointRef | None = None
    """A checkpoint that is durable at this step, if one was written."""
    inherited: Inherited | None = None
    peak_bytes: int | None = None
    """The most memory that the job held of its device so far; None: not known."""


Outcome = Literal["finished", "lost", "failed", "stopped"]
Cause = Literal[
    "preempted", "lost", "stopped", "exception", "crashed", "out_of_memory", "time_limit", "diverged", "infeasible",
    "incomplete", "refused",
]  # fmt: skip
"""Why a job ended before its time: its worker was asked to leave and handed it back, or was lost; it was stopped; or it
failed: it raised, its process crashed, memory or time ran out, a metric was no number, the task said that the config
cannot be, it left something out that it must do, or the worker may not or cannot do it."""
SHUT_DOWN = "worker shut down"
OOM = "out of memory"
TIME_LIMIT = "time limit"
INFEASIBLE = "infeasible"
DIVERGED = "diverged"
REFUSED = "refused"
"""What a worker says of a job that it may not or cannot do, whatever its config: its allow-list, its folders, a module
that it lacks. No fault of the trial's."""


def cause_of(outcome: str, reason: str) -> Cause | None:
    """The cause by the words of its reason: of messages and rows that do not say it themselves; None: it finished."""
    if outcome == "finished":
        return None
    if outcome == "stopped":
        return "stopped"
    if outcome == "lost":
        return "preempted" if reason == SHUT_DOWN else "lost"
    word = reason.partition(":")[0]
    for cause, words in _WORDS.items():
        if word in words:
            return cause
    if reason.startswith(("crashed", "the process ended")):
        return "crashed"
    if reason.startswith("lost "):
        return "lost"
    return "incomplete" if reason.startswith("ended ") else "exception"


_WORDS: dict[Cause, tuple[str, ...]] = {
    "out_of_memory": (OOM, "oom"), "time_limit": (TIME_LIMIT,), "diverged": (DIVERGED,), "infeasible": (INFEASIBLE,),
    "refused": (REFUSED, "not found"), "lost": (SHUT_DOWN,),
}  # fmt: skip


class Ended(_Up):
    """One of the four ends of a job. `cause` says why, for programs; `reason` is a short word for a person, `error` the
    captured traceback. `result`: what a job found."""

    kind: Literal["ended"] = "ended"
    outcome: Outcome
    step: Number = 0
    cause: Cause | None = None
    """None: it finished, or an older worker says it in `reason` alone."""
    peak_bytes: Number | None = None
    """The most memory that the job held of its device; None: not known."""
    reason: str = ""
    error: str = ""
    checkpoint: CheckpointRef | None = None
    result: Annotated[dict[str, Any] | None, Plain] = None
    seconds: float = 0.0
    holds: tuple[Name, ...] = Field(default=(), max_length=MOST)
    """The checkpoints that the worker has in memory now (`held`)."""


Message = Annotated[Begun | Beat | Report | Ended, Field(discriminator="kind")]
message_adapter: TypeAdapter[Begun | Beat | Report | Ended] = TypeAdapter(Message)


def encode(message: Begun | Beat | Report | Ended) -> str:
    """One message as JSON (NaN and infinity as strings)."""
    return message.model_dump_json()


def decode(text: str | bytes) -> Begun | Beat | Report | Ended:
    """The message in `text`; raises pydantic's ValidationError when it is none."""
    if len(text) > LARGEST:
        said = {"n": len(text), "most": LARGEST}
        why = PydanticCustomError("too_large", "{n} bytes, and a message has {most} at most", said)
        raise ValidationError.from_exception_data("Message", [InitErrorDetails(type=why, input=text[:80])])
    return message_adapter.validate_json(text)


class WorkerInfo(Frozen):
    """What `searchd workers` and the page show of one worker slot."""

    name: Name
    device_class: Name
    device: Name
    host: Name
    pid: Number
    child_pid: Number | None = None
    state: Literal["idle", "busy", "starting", "stopping"] = "idle"
    job: Name | None = None
    since: float = Field(default=0.0, allow_inf_nan=False)
    """Since when it does what it does: Unix seconds."""
    began: float = Field(default=0.0, allow_inf_nan=False)
    """When its process was started: Unix seconds; 0: an older worker."""
    functions: tuple[str, ...] = ()
    holds: tuple[str, ...] = ()
    """The checkpoints that its process has in memory (`held`)."""
    labels: dict[str, str] = Field(default_factory=dict)
    """What a study may need (`spaces.labels`)."""
    domain: str = ""
    """The memory that its jobs hold, by its name on the host: `host`, or one accelerator's (`cuda:0`)."""
    memory_bytes: int = 0
    """How much of it all slots of the domain may hold together; 0: not known."""
    shared: bool = False
    """Whether a job begins there only where it fits beside those of the other slots of the domain."""
    facts: dict[str, str] = Field(default_factory=dict)
    """What figures taken there hold for: `runtime`, `driver`, `clocks`, `threads` (`workers.facts`)."""
    note: str = ""
    """Why its job stands still, for a person: a storage that does not answer."""
