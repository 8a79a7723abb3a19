"""What a built-in task says of itself without torch: its options, metrics and parameters, and exact arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.random import Generator

from spaces.forms import Form
from spaces.operators import Operator
from spaces.problems import Path as KeyPath
from spaces.problems import Problems
from spaces.space import Space

Nested = Mapping[str, Any]
Options = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Description:
    """`metrics`: params, macs, bops, bytes, … as the task says, the same at every step and operating point.

    `prefixes`: one signature an exit, cumulative; `signature`: that of the whole (the last prefix). Equal signatures
    have equal latency on one device.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    signature: str = ""
    prefixes: tuple[str, ...] = ()
    low_bit: str = ""
    """`signature` where kernels may run layers at their own bits; empty: there are none for the task."""
    least: Mapping[str, float] | None = None
    """What bounds are held against where operating points have figures of their own: the least of each."""

    @property
    def bounded(self) -> Mapping[str, float]:
        """The metrics that a bound is held against before anything is trained."""
        return self.metrics if self.least is None else self.least


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """One built-in task. All that the daemon, the loader and the linter need; `workers.tasks` has the rest by name."""

    name: str
    form: type[Form]
    """The options below the name in a study file."""
    metrics: tuple[str, ...]
    """What it can be judged by."""
    reads: tuple[str, ...]
    """The parameters that its configs may have; any other is told as odd."""
    describe: Callable[[Options, Nested], Description]
    """The exact figures of a nested config. SpaceError when it cannot be built."""
    schedules: tuple[str, ...] = ()
    """Those that may change while a trial trains, each with all below it."""
    grows: tuple[str, ...] = ()
    """Those that trained weights can follow, upwards (`spaces.morphs`)."""
    architecture: tuple[str, ...] = ()
    """Those that make the network; the others are how it is trained."""
    exact: tuple[str, ...] = ("params", "macs", "bops", "bytes")
    """The metrics of `describe`."""
    measured: bool = True
    """Measure jobs time a config's shapes, once a signature, before it is trained."""
    exported: bool = True
    """Its front points are exported and measured again at the end of a study."""
    options: Callable[[Form, KeyPath, Problems, Path | None], dict[str, Any] | None] | None = None
    """Reads the form further: (form, its path, problems, the folder of the study file) → options of a job. None: they
    are the form's."""
    operators: Callable[[Options, Nested], tuple[tuple[Operator, ...], ...]] | None = None
    """The operators of a nested config by exit: those that run after the exit before. None: none can be timed alone."""
    networks: Callable[[Options, Nested, Generator], Nested] | None = None
    """Where one config brings many networks as its points: a nested config with what names one of them (`subnet`,
    `architecture`), at random; `operators` takes it so. None: the config is the network."""
    runtimes: tuple[str, ...] = ("onnxruntime",)
    """What its networks can be timed with."""
    kernels: Callable[[Options, Nested, str], tuple[str, ...]] | None = None
    """Which bits of a nested config a runtime has a kernel for, a line each (`spaces.kernels`). None: it has none."""
    unfit: Callable[[Options, Nested, Nested], str | None] | None = None
    """Why trained weights of the first config cannot be morphed to the second; None when they can. None: only the task
    itself knows."""
    check: Callable[[Space, Options, Problems, bool], None] | None = None
    """Tells as problems what every trial would refuse. The last argument: whether a person typed it just now; what a
    log holds was read before some values had rules, and stays as it was."""
    lint: Callable[[Space, frozenset[str]], Iterable[tuple[str, str]]] | None = None
    """What is allowed but odd in a space, given the metrics that objectives read: (path, message)."""


