"""The contract of `BuiltIn.operators`: the table of a device is made of what the timed networks are made of."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.random import Generator, Philox
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

from searchd.devices import asked  # noqa: E402
from searchd.errors import Refused  # noqa: E402
from spaces.builtin import BUILT_IN  # noqa: E402
from spaces.chains import occurrences  # noqa: E402
from spaces.describe import NAMES, describe, drawn, operators, point_operators  # noqa: E402
from spaces.operators import WEIGHTED, Operator  # noqa: E402
from spaces.study import Study  # noqa: E402
from workers.measurers import OnnxCpu, Run, TorchCpu  # noqa: E402
from workers.tasks import resolve  # noqa: E402

SPACES: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {
    "classify": (
        {"width": {"int": [3, 6]}, "depth": {"int": [1, 3]}, "bits": {"choice": [4, 32]}, "exits": {"subset": [0, 1]}},
        [{}, {"data": "wine"}],
    ),
    "supernet": (
        {"width": {"int": [3, 6]}, "depth": {"int": [1, 2]}, "kernel": {"choice": [3, 5]},
         "block": {"choice": ["bottleneck", "residual"]}, "expand": 2, "exits": {"subset": [0]}},
        [{"bits": [4, 32], "resolutions": [6, 8]}, {"data": "wine", "bits": [2, 8]}],
    ),
    "lm": ({"width": {"choice": [16, 24]}, "depth": {"int": [1, 3]}, "heads": {"choice": [1, 2]}}, [{"context": 16}]),
    "dnas": (
        {"width": {"int": [3, 6]}, "weight": {"float": [0.1, 1]}},
        [{"layers": 2, "candidates": ["k3e1", "k5e2", "skip"]}, {"data": "wine", "layers": 2}],
    ),
}  # fmt: skip
CASES = [pytest.param(task, i, id=f"{task}-{i}") for task, (_, options) in SPACES.items() for i in range(len(options))]
DRAWS = 5


class Recording(OnnxCpu):
    """A measurer that keeps the models that it is to time."""

    def __init__(self) -> None:
        self.models: list[bytes] = []

    def model(self, model: bytes, x: NDArray[Any]) -> Run:
        self.models.append(model)
        return super().model(model, x)


def study_of(task: str, which: int) -> Study:
    space, options = SPACES[task]
    objectives = {"val_loss": "minimize", "latency_ms": "minimize"}
    return Study.parse({"study": "s", "space": space, "task": {task: options[which]}, "objectives": objectives})


def weighted(model: bytes) -> Counter[tuple[str, tuple[int, ...]]]:
    """The nodes of a graph that have parameters, by kind and the shape of their weights (what resizes has none), and
    those that pool or add maps."""
    graph = onnx.load_from_string(model).graph
    constants = {c.name: c for c in graph.initializer}
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in constants:
            constants[node.output[0]] = constants[node.input[0]]
    found: Counter[tuple[str, tuple[int, ...]]] = Counter()
    for node in graph.node:
        read = [i for i in node.input if i in constants and not i.endswith((".rows", ".columns"))]
        shapes = [tuple(constants[i].dims) for i in read]
        match node.op_type:
            case "Conv":
                found["conv", shapes[0]] += 1
            case "Gemm":
                found["linear", shapes[0]] += 1
            case "MatMul" if shapes:
                found["linear", shapes[0][::-1]] += 1
            case "LayerNormalization":
                found["norm", shapes[0]] += 1
            case "MaxPool" | "AveragePool" | "GlobalAveragePool":
                found["pool", ()] += 1
            case "Add" if not read:
                found["add", ()] += 1
            case "Gather" if node.input[0] in constants:
                found["embed", shapes[0]] += 1
    return found


def said(chains: Any, exit_: int) -> Counter[tuple[str, tuple[int, ...]]]:
    """The same of the operators up to an exit."""
    found: Counter[tuple[str, tuple[int, ...]]] = Counter()
    for o in (o for chain in chains[: exit_ + 1] for o in chain):
        match o.op:
            case "conv":
                found["conv", (o.outputs, o.inputs // o.groups, o.kernel, o.kernel)] += 1
            case "linear":
                found["linear", (o.outputs, o.inputs)] += 1
            case "pool" | "add":
                found[o.op, ()] += 1
            case "norm":
                found["norm", (o.outputs,)] += 1
            case "embed":
                found["embed", (o.inputs, o.outputs)] += 1
    return found


def test_every_built_in_task_is_held_to_this() -> None:
    """A task with operators that is not below would be held to nothing."""
    assert {name for name, task in BUILT_IN.items() if task.operators is not None} == set(SPACES)


@pytest.mark.parametrize(("task", "which"), CASES)
def test_each_parametrised_node_of_a_timed_network_is_one_operator(task: str, which: int) -> None:
    """At every exit of networks at random: no weight, pool or shortcut of the graph is missing from the sum, and none
    counts twice (what a language model adds is a vector, and no operator)."""
    study, rng = study_of(task, which), Generator(Philox(key=which))
    prepare = resolve(study.task.model_dump(mode="json")).prepare
    assert prepare is not None
    for _ in range(DRAWS):
        nested, chains = drawn(study.task, study.space, study.space.sample(rng), rng)
        for exit_ in range(len(chains)):
            by = Recording()
            prepare(study.task.options, nested, exit_, by)()
            (model,) = by.models
            found = weighted(model)
            if task == "lm":
                found.pop(("add", ()))
            assert found == said(chains, exit_)


@pytest.mark.parametrize(("task", "which"), CASES)
def test_what_runs_further_costs_no_less(task: str, which: int) -> None:
    """Chains are what is added from exit to exit: occurrences rise, and a profile asks for every operator in them."""
    study = study_of(task, which)
    request = asked(study, 20)
    table = {Operator(**said).key for said in request["operators"]}
    for one in request["architectures"]:
        assert set(one["counts"]) <= table
        known = BUILT_IN[task].operators
        assert known is not None
        chains = known(study.task.options, one["nested"])
        sums = [sum(occurrences(chains, k).values()) for k in range(len(chains))]
        assert sums == sorted(sums)
        assert occurrences(chains, one["exit"]) == one["counts"]


@pytest.mark.parametrize(("task", "which"), CASES)
def test_params_are_those_of_the_description(task: str, which: int) -> None:
    """Where a config says exactly how many parameters its network has, its operators have as many together."""
    study, rng = study_of(task, which), Generator(Philox(key=3))
    config = study.space.sample(rng)
    found = describe(study.task, study.space, config)
    chains = operators(study.task, study.space, config)
    assert found is not None
    assert chains is not None
    if BUILT_IN[task].networks is None:
        assert sum(o.params for chain in chains for o in chain) == found.metrics["params"]
        assert sum(o.macs for chain in chains for o in chain) == found.metrics["macs"]
        assert len(chains) == len(found.prefixes)
        assert point_operators(study.task, study.space, config, {}) == ()
    else:
        assert chains == ()
        nested, chains = drawn(study.task, study.space, config, rng)
        point = {name: nested[name] for name in NAMES if name in nested}
        assert point_operators(study.task, study.space, config, point) == chains
        assert all(o.op in WEIGHTED or o.params == 0 for o in chains[0])
        assert {o.bits for chain in chains for o in chain} == {32}  # as they are computed, however they are stored


@pytest.mark.parametrize("task", [name for name, t in BUILT_IN.items() if t.runtimes == ("onnxruntime",)])
def test_a_runtime_that_cannot_time_it_is_refused(task: str) -> None:
    """Before a job is sent, and by the worker."""
    study, rng = study_of(task, 0), Generator(Philox(key=0))
    with pytest.raises(Refused, match="--runtime onnxruntime"):
        asked(study, 2, runtime="torch")
    prepare = resolve(study.task.model_dump(mode="json")).prepare
    assert prepare is not None
    nested, _ = drawn(study.task, study.space, study.space.sample(rng), rng)
    with pytest.raises(Refused, match="--runtime onnxruntime"):
        prepare(study.task.options, nested, 0, TorchCpu())


def test_a_sub_network_by_a_store_is_the_same() -> None:
    """Whole numbers that came back as floats name the same operators."""
    study, rng = study_of("supernet", 0), Generator(Philox(key=1))
    config = study.space.sample(rng)
    nested, chains = drawn(study.task, study.space, config, rng)

    def floats(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: floats(v) for k, v in value.items()}
        return [floats(v) for v in value] if isinstance(value, list) else float(value)

    assert point_operators(study.task, study.space, config, {"subnet": floats(nested["subnet"])}) == chains
    assert np.isfinite(sum(o.macs for o in chains[0]))
