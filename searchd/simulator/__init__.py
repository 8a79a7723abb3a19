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
    from searchd.simulator.outcome import hypervolume_over_time, incumbents, summary
    from searchd.simulator.run import simulate
    from searchd.simulator.trace import Counts, Run, Seen
    from searchd.simulator.world import DescribingWorld, MeasuringWorld, Step, TrialFailed, World
    from searchd.simulator.worlds.log import Log
    from searchd.simulator.worlds.surrogate import OnnxCurves, Surrogate
    from searchd.simulator.worlds.synthetic import Synthetic
    from searchd.simulator.worlds.table import Table

_HOME = {
    "Counts": "trace", "DescribingWorld": "world", "Faults": "faults", "Log": "worlds.log", "MeasuringWorld": "world",
    "OnnxCurves": "worlds.surrogate", "Run": "trace", "Seen": "trace", "Step": "world", "Surrogate": "worlds.surrogate",
    "Synthetic": "worlds.synthetic", "Table": "worlds.table", "TrialFailed": "world", "World": "world",
    "hypervolume_over_time": "outcome", "incumbents": "outcome", "simulate": "run", "summary": "outcome",
}  # fmt: skip
__all__ = [
    "Counts", "DescribingWorld", "Faults", "Log", "MeasuringWorld", "OnnxCurves", "Run", "Seen", "Step", "Surrogate",
    "Synthetic", "Table", "TrialFailed", "World", "hypervolume_over_time", "incumbents", "simulate", "summary",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"searchd.simulator.{_HOME[name]}"), name)
    raise AttributeError(f"module 'searchd.simulator' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
