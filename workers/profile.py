"""A profile: every operator of a study alone, and whole architectures, timed in turns on a device of its own.

It comes as a measure job with `profile` = {operators: [fields of `Operator`], architectures: [{nested, exit}], seed}.
Its result: `rows` by operator key, [ms, variance]: an empty model's time taken off; `empty_ms`; `architectures`, a list
of REPEATS figures in ms each; `row_spread`, `spread`: median relative differences between two repeats.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from searchd.errors import Refused
from searchd.wire import JobSpec
from spaces.operators import Operator
from workers.energy import Spent, meter
from workers.measurers import Measurer, Run, measurer
from workers.rounds import figures

OPERATOR_S = 0.001
OPERATOR_ROUNDS = 4
"""Of one operator: hundreds of runs a round, and there are hundreds of operators."""
MOST_OPERATORS = 2000
MOST_ARCHITECTURES = 100

Prepare = Callable[[Mapping[str, Any], Mapping[str, Any], int, Measurer], Run]
"""(options of the task, a nested config, an exit, what measures) → one sample through that network up to that exit."""


def profile(spec: JobSpec, prepare: Prepare) -> dict[str, Any]:
    """The result of a profile job. Refused for one that is too large."""
    asked = spec.profile or {}
    operators = [Operator(**said) for said in asked["operators"]]
    wanted = list(asked["architectures"])
    if len(operators) > MOST_OPERATORS or len(wanted) > MOST_ARCHITECTURES:
        raise Refused(f"a profile of {len(operators)} operators and {len(wanted)} architectures, but at most "
                      f"{MOST_OPERATORS} and {MOST_ARCHITECTURES} are measured at once: a smaller space")  # fmt: skip
    with_ = measurer(spec.runtime or "onnxruntime")
    seed = int(asked.get("seed", 0))
    spent = Spent(meter())
    alone = figures(with_, [with_.empty(), *(with_.operator(o) for o in operators)], seed, round_s=OPERATOR_S,
                    rounds=OPERATOR_ROUNDS)  # fmt: skip
    options = spec.task.get("options") or {}
    whole = figures(with_, [prepare(options, a["nested"], int(a["exit"]), with_) for a in wanted], seed + 1)
    empty = float(alone.ms[0])
    rows = {
        o.key: [max(0.0, float(ms) - empty), float(variance)]
        for o, ms, variance in zip(operators, alone.ms[1:], alone.variance[1:], strict=True)
    }
    result: dict[str, Any] = {
        "rows": rows, "empty_ms": empty, "architectures": whole.each.T.tolist(), "spread": whole.spread,
        "row_spread": alone.spread, "peak_memory_bytes": with_.peak_memory_bytes(), "runtime": with_.name,
    }  # fmt: skip
    joules = spent.joules()
    return result if joules is None else result | {"energy_j": joules}
