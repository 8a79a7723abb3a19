"""What a `Search` hears and answers: the scheduler's events with metrics by name instead of losses.

Metrics are in the user's own sense (accuracy higher is better); `Search` signs them once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any, Literal

from searchd.schedulers.events import Deepened, Exhausted, Extended, Lost, Stop, Stopped, TrialId, Wait
from searchd.values import value
from spaces.config import Config

__all__ = [
    "Deepened", "Described", "Event", "Exhausted", "Extended", "Failed", "Finished", "Injected", "Job", "JobKind",
    "Lost", "Measured", "Reported", "Repredicted", "SearchAnswer", "Stop", "Stopped", "TrialId", "Vetoed", "Wait",
]

JobKind = Literal["train", "measure", "describe"]


@value
class Job:
    """One thing to do for a trial. `train`: from step `since` to `until`. `measure`: time `signature` on the device.
    `describe`: say the exact metrics of its config (a user's task that has a `describe`), before any training.
    `parent`: the first training takes over that trial's checkpoint at `since`; with `morph` it begins at step 0 with
    that trial's weights of step `morph`, morphed to its own config.
    """

    trial: TrialId
    config: Config
    since: int
    until: int
    kind: JobKind = "train"
    signature: str | None = None
    bracket: int = 0
    reason: str = ""
    parent: TrialId | None = None
    morph: int | None = None


@value
class Reported:
    """Metrics of a trial at a step. `points`: one mapping an operating point; each is merged over `metrics`.

    A point may carry `exit_rates` (share of samples leaving at each exit, sums to 1): `Search` turns it
    into the expected latency with the measured cumulative latencies of the trial's signature.
    """

    trial: TrialId
    step: int
    metrics: Mapping[str, float]
    points: tuple[Mapping[str, Any], ...] = ()


@value
class Finished:
    """The job reached `step` and its checkpoint is durable. `metrics`: a shorthand for `Reported` just before."""

    trial: TrialId
    step: int
    metrics: Mapping[str, float] | None = None
    points: tuple[Mapping[str, Any], ...] = ()


@value
class Failed:
    """The trial's own fault; it never runs again."""

    trial: TrialId
    reason: str = ""


@value
class Injected:
    """The user brought a config; it becomes the next trial."""

    config: Config


@value
class Measured:
    """What a measure job found for a signature: cumulative latency [K exits] in ms, p50 and p95, batch 1.

    `kernel_bits`: the bits that the runtime's kernel really used, one a block. `alone`: no other job ran beside it.
    `error`: why it could not be measured (then the trials that wait for it fail). `kernels`: what ran the layers of few
    bits, and why, a line each.
    """

    signature: str
    cumulative_ms: tuple[float, ...] = ()
    p95_ms: tuple[float, ...] = ()
    device: str = ""
    alone: bool = False
    kernel_bits: tuple[int, ...] = ()
    error: str | None = None
    extra: Mapping[str, float] = field(default_factory=dict)
    kernels: tuple[str, ...] = ()


@value
class Described:
    """What a describe job found: exact metrics, the same at every step; they are merged into every report of the trial,
    and of every trial with the same config. A bound that one of them breaks vetoes the trial."""

    trial: TrialId
    metrics: Mapping[str, float]


@value
class Vetoed:
    """The task itself says that the trial's config must never be trained."""

    trial: TrialId
    reason: str = ""


@value
class Repredicted:
    """Latency is predicted otherwise from now on: the front was measured, and cost something else."""

    predictor: Mapping[str, Any]


Event = (
    Reported | Finished | Lost | Failed | Stopped | Injected | Measured | Described | Vetoed | Deepened | Extended
    | Repredicted
)
SearchAnswer = Job | Wait | Exhausted
