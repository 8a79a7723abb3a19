"""Bodies and answers of the HTTP interface, for OpenAPI. The shapes of the answers are those of `searchd.views`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Scope = Literal["read", "submit", "admin"]
Count = Annotated[int, Field(ge=0, le=2**53)]
"""A number of something, or the number of something: what JSON and every database can hold."""


class Answer(BaseModel):
    model_config = ConfigDict(extra="allow")


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


# ---------------------------------------------------------------- what comes in
class SubmitBody(Body):
    spec: dict[str, Any] = Field(description="a study file, as JSON")
    artifacts: str | None = Field(
        default=None, description="folder of the study's files, relative to the daemon's artifact root; `.`: the root"
    )


class InjectBody(Body):
    values: dict[str, Any] = Field(description="a config by flat names, active parameters only")


class ExtendBody(Body):
    budget: dict[str, Any] = Field(description="the whole new budget: trials, hours, steps, parallel; absent: no limit")


class PriorityBody(Body):
    priority: float = Field(gt=0, le=1000, description="the study's weight where studies share worker slots")


class DeepenBody(Body):
    max_resource: Count = Field(description="the new R: the old one times a power of eta")
    trials: Count | None = Field(default=None, ge=1, description="a new limit on the number of trials, set with it")


class RebaseBody(Body):
    apply: bool = Field(default=False, description="false: only say what it means")


# ---------------------------------------------------------------- what goes out
class ProblemModel(BaseModel):
    path: str = ""
    message: str
    line: int | None = None
    file: str | None = None


class ErrorModel(BaseModel):
    error: str
    problems: list[ProblemModel] = []


class Health(Answer):
    ok: bool
    version: str
    pid: int


class Submitted(Answer):
    id: str
    name: str
    waits: str = Field(default="", description="why no live worker can take its jobs now")


class Injected(Answer):
    trial: int


class Done(Answer):
    id: str
    status: str


class GarbageBody(BaseModel):
    final: bool = Field(default=False, description="the study is never deepened or extended: only the front keeps its")


class Garbage(Answer):
    """Checkpoint files that can no longer be needed, or that were removed; `why`: how many are superseded, and how many
    of trials that have ended."""

    id: str
    removed: bool
    files: int
    bytes: int
    why: dict[str, int]
    kept_files: int
    kept_bytes: int


class Rebased(Done):
    """`difference`: the first decision that this version takes otherwise, null where there is none; `jobs` in flight
    end."""

    difference: dict[str, Any] | None
    text: str
    trials: int
    steps: int
    jobs: list[str]


class ObjectiveModel(Answer):
    name: str
    goal: str
    at_most: float | None = None
    at_least: float | None = None


class Summary(Answer):
    """A study at a glance."""

    id: str
    name: str
    status: str
    reason: str = ""
    remark: str = Field(default="", description="what the searcher says, such as: no config keeps the bounds")
    waits: str = Field(default="", description="why it waits, such as: no worker serves its device")
    ends: dict[str, int] = Field(default={}, description="trials that failed and attempts that were lost, by cause")
    device: str = "cpu"
    needs: dict[str, str] = {}
    priority: float = 1.0
    created: float
    seconds: float
    trials: dict[str, int] = Field(description="by state, and `total`")
    steps_done: int
    reports: int
    duplicates: int
    front: int = Field(description="points on the front")
    unvalued: dict[str, int] = Field(
        default={}, description="points that are on no front for want of a finite value, by objective"
    )
    hypervolume: float | None = None
    busy_fraction: float | None = Field(default=None, description="share of the slots' time spent in jobs")
    retrying: list[dict[str, Any]] = Field(
        default=[], description="jobs that were lost and run again: `trial`, `attempt`, and the `reason` of the loss"
    )
    resumed: dict[str, int] = Field(
        default={}, description="jobs that went on with a trial: `total`, and `warm`: the checkpoint was in memory"
    )
    inherited: dict[str, int] = Field(
        default={}, description="trials with a parent: `total`, and `fresh`: its weights could not be taken"
    )
    best: dict[str, float | None] = {}
    predicted: dict[str, Any] | None = Field(
        default=None, description="latency as predicted and as measured at the end: points, error, bias"
    )
    static: dict[str, Any] | None = Field(
        default=None, description="with schedules: the best trial with one and the best constant one, at one step"
    )
    objectives: list[ObjectiveModel] = []
    budget: dict[str, Any] = {}


class ParentModel(Answer):
    """Whose weights a trial began with, as they were after `step`."""

    trial: int
    step: int
    morphed: bool = Field(description="true: morphed to the trial's own config; false: a copy, under pbt")
    taken: bool | None = Field(default=None, description="false: it began from nothing; null: not known (yet)")
    text: str = Field(description="the same in a sentence, and why they were not taken")


class FrontPoint(Answer):
    trial: int
    point: int
    step: int
    config: dict[str, Any]
    metrics: dict[str, Any]
    parent: ParentModel | None = None


class TrialModel(Answer):
    trial: int
    status: str
    config: dict[str, Any]
    step: int
    bracket: int = 0
    metrics: dict[str, Any] | None = None
    reason: str = ""
    why: str = Field(default="", description="the reason as it reads beside the status")
    error: str = ""
    seconds: float | None = None
    parent: ParentModel | None = None


class TrialDetail(TrialModel):
    reports: list[dict[str, Any]] = []
    jobs: list[dict[str, Any]] = []
    points: list[dict[str, Any]] = []
    kernels: dict[str, Any] | None = Field(
        default=None, description="runtime, lines (which bits have a kernel there), measured: that is what ran"
    )
    files: list[str] = []
    files_unknown: str = Field(default="", description="why a remote storage does not say them; empty: it does")


class CurvePoint(Answer):
    trial: int
    step: int
    value: float | None


class Rung(Answer):
    bracket: int
    step: int
    trials: list[dict[str, Any]]


class Option(Answer):
    """One option's trials at the step; `q1` and `q3`: the quartiles on the good and on the bad side."""

    option: Any
    trials: int
    steps: int
    judged: int
    diverged: int
    failed: int
    best: float | None
    q1: float | None
    median: float | None
    q3: float | None
    trial: int | None


class Comparison(Answer):
    """The options of a choice, the best first; `test`: a rank test of the best two."""

    parameter: str
    metric: str
    goal: str
    step: int
    unit: str
    options: list[Option]
    test: dict[str, Any] | None


class LogEntry(Answer):
    """One line of the study's log: `text` for people, `payload` the recorded event itself."""

    seq: int
    at: float
    kind: str
    trial: int | None = None
    text: str
    payload: dict[str, Any]


class Work(Answer):
    """Jobs and what they train: `steps` from checkpoints on, `steps_restart` if every one started over."""

    trials: int
    evaluations: int
    steps: int
    steps_restart: int


class Deepening(Answer):
    """What raising R would cost. `extra`: added to the work still to be done; `fresh`: a new search at the new R."""

    study: str
    from_: int = Field(alias="from", description="R now")
    to: int
    eta: int
    unit: str
    scheduler: str
    exact: bool
    extra: Work
    fresh: Work
    resumed: int = Field(description="trials that go on from their checkpoints")
    rungs: list[dict[str, int]] = []
    notes: list[str] = []


class Worker(Answer):
    name: str
    device_class: str
    device: str
    host: str
    pid: int
    state: str
    job: str | None = None
    since: float = Field(default=0.0, description="Unix seconds: in this state since")
    labels: dict[str, str] = {}
    study: str | None = None
    trial: int | None = None
    kind: str | None = None
    step: int | None = Field(default=None, description="the last step that its trial reported")
    until: int | None = None
    doing: str = Field(default="", description="its job in words")
    note: str = Field(default="", description="why its job stands still; empty: it does not")


class Captured(Answer):
    """One attempt of a job: how it ended, and what it printed (null: the file is not where the daemon is)."""

    job: str
    kind: str
    attempt: int
    worker: str
    status: str
    cause: str | None
    reason: str
    error: str
    output: str | None
    file: str | None


class AddDeviceBody(Body):
    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,63}$", description="the class that its workers serve")
    runtime: str | None = None


class ProfileBody(Body):
    spec: dict[str, Any] = Field(description="the study whose operators are timed")
    architectures: int | None = Field(default=None, ge=1, le=100)


class AddTokenBody(Body):
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    scope: Scope
    expires_s: float | None = Field(default=None, gt=0, le=1e10, description="seconds from now; null: never")


class Me(Answer):
    name: str
    scope: Scope


class Token(Answer):
    """A token without its secret, which is kept nowhere."""

    name: str
    scope: Scope
    created: float
    expires: float | None
    expired: bool


class NewToken(Token):
    token: str = Field(description="the secret: shown this once")


class Device(Answer):
    """A registered device, and what is known of its latencies."""

    name: str
    identity: str
    runtime: str
    facts: dict[str, str]
    workers: int | None = None
    added: float
    profile: dict[str, Any] | None = None
    profiling: dict[str, Any] | None = None
