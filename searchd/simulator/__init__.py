"""What a search would have brought, in virtual time: `from searchd.simulator import simulate`.

    from searchd import Study
    from searchd.simulator import Step, simulate

    class Mine:
        def train(self, trial, config, since, until):
            for step in range(since + 1, until + 1):
                yield Step(step, 2.0, {"loss": (config["x"] - 0.3) ** 2 + 1 / step})

    run = simulate(Study.load("study.yaml"), Mine(), workers=16, seconds=3600)
    print(run.seconds, run.counts, run.decision_cpu_s, run.search.front())

Names load when they are asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from searchd.simulator.faults import Faults
    from searchd.simulator.run import Counts, Run, Seen, simulate
    from searchd.simulator.world import MeasuringWorld, Step, TrialFailed, World

_HOME = {
    "Counts": "run", "Faults": "faults", "MeasuringWorld": "world", "Run": "run", "Seen": "run", "Step": "world",
    "TrialFailed": "world", "World": "world", "simulate": "run",
}  # fmt: skip
__all__ = ["Counts", "Faults", "MeasuringWorld", "Run", "Seen", "Step", "TrialFailed", "World", "simulate"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"searchd.simulator.{_HOME[name]}"), name)
    raise AttributeError(f"module 'searchd.simulator' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
