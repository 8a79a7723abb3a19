"""Latency of allocations on this device, in milliseconds: of whole networks, and a table of single blocks."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
from onnx import TensorProto, helper

from spaces.nets import NetSpec
from workers import measure

_known: dict[tuple[str, str], tuple[tuple[float, ...], tuple[float, ...]]] = {}


def cumulative(spec: NetSpec) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(p50, p95) up to each exit of an untrained network of `spec`; measured once a signature and process."""
    key = measure.device(), spec.signature(len(spec.exits) - 1)
    if key not in _known:
        found = measure.latency(measure.untrained(spec))
        _known[key] = tuple(e.p50_ms for e in found.exits), tuple(e.p95_ms for e in found.exits)
    return _known[key]


def table(specs: tuple[NetSpec, ...]) -> list[list[float]]:
    """What each block costs with a head [blocks][specs], an empty session taken off; `specs`: one network at several
    widths. The sum over blocks is a first guess at the whole, which `cumulative` measures."""
    empty = _empty()
    return [
        [max(0.0, cumulative(_alone(spec, i))[0][-1] - empty) for spec in specs] for i in range(len(specs[0].blocks))
    ]


def _alone(spec: NetSpec, block: int) -> NetSpec:
    """The block by itself, with a head as the network's last exit has one."""
    whole, last = spec.blocks[block], spec.exits[-1]
    layer = replace(whole.layer, name="blocks.0")
    shape: tuple[int, ...] = (layer.inputs,)
    grid, inputs = None, layer.outputs
    if layer.op == "conv":
        shape = (layer.inputs, layer.height, layer.width)
        grid = (min(2, whole.shape[1]), min(2, whole.shape[2]))
        inputs *= grid[0] * grid[1]
    head = replace(last.head, name="heads.0", inputs=inputs)
    exit_ = replace(last, block=0, head=head, grid=grid)
    return NetSpec(shape, spec.classes, (replace(whole, index=0, layer=layer),), (exit_,))


@lru_cache(maxsize=1)
def _empty() -> float:
    """A session that does nothing."""
    sides = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 1]) for n in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "empty", sides[:1], sides[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (found,) = measure.time_models([bytes(model.SerializeToString())], np.zeros((1, 1), np.float32))
    return float(found.p50_ms)
