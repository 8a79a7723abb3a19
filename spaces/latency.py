"""Where the latency that a search goes by comes from: what `latency` and `runtime` ask of a study."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from spaces.formulas import MEASURED
from spaces.problems import Problems
from spaces.task import Task

LATENCY = "latency_ms"
ONLY_MEASURED = ("latency_p95_ms", *MEASURED)


class _Reads(Protocol):
    @property
    def reads(self) -> frozenset[str]: ...


def check_latency(latency: str, task: Task, objectives: Iterable[_Reads], problems: Problems) -> None:
    """A prediction needs a task whose operators are known, an objective that it serves, and none that it cannot."""
    if latency != "predicted":
        return
    at = ("latency",)
    known = task.built_in
    if known is None or known.operators is None:
        problems.add(at, f"the operators of task {task.kind} are not known, so nothing predicts its latency: write "
                         "latency: measured")  # fmt: skip
        return
    wanted = frozenset().union(*(o.reads for o in objectives))
    if LATENCY not in wanted:
        problems.add(at, f"no objective reads {LATENCY}, so nothing is predicted: leave latency out, or add it")
    for name in ONLY_MEASURED:
        if name in wanted:
            problems.add(at, f"a profile predicts {LATENCY}, and {name} must be measured: write latency: measured")


def check_runtime(runtime: str, task: Task, problems: Problems) -> None:
    """A runtime that is said is one that times the task's networks."""
    if not runtime:
        return
    known = task.built_in
    if known is None or (known.operators is None and not known.measured):
        problems.add(("runtime",), f"nothing of task {task.kind} is measured: leave runtime out")
    elif runtime not in known.runtimes:
        problems.add(("runtime",), f"the networks of task {task.kind} are timed by {', '.join(known.runtimes)}, not by "
                                   f"{runtime}: write one of these, or leave runtime out")  # fmt: skip
