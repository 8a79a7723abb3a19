"""A path as an ONNX graph, batch norm folded into its layers: for export, and for timing one candidate alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from spaces.blocks import Layout, Op
from workers.dnas.modules import Candidate, Path, Unit
from workers.nets.graph import IR_VERSION, OPSET

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Folded:
    """An operator with its weight (convolutions [out, in / groups, k, k], linear [out, in]) and bias [out]."""

    op: Op
    weight: Floats
    bias: Floats


@torch.no_grad()
def fold(unit: Unit) -> Folded:
    """A unit as it runs in eval mode."""
    norm = unit.norm
    mean, var = norm.running_mean, norm.running_var
    if mean is None or var is None:
        raise RuntimeError("a batch norm without statistics: this is a bug")
    gain = norm.weight / torch.sqrt(var + norm.eps)
    op, weight = unit.op, unit.weight * gain[:, None]
    if op.conv:
        weight = weight.view(op.outputs, -1, op.kernel, op.kernel)
    return Folded(op, _array(weight), _array(norm.bias - gain * mean))


def layers(path: Path) -> list[Folded]:
    """Every operator of a path, the head last, in the order in which they run and are stored."""
    head = Folded(path.layout.head, _array(path.head.weight), _array(path.head.bias))
    return [*(fold(unit) for unit in path.units()), head]


def pack(path: Path) -> bytes:
    """The weights as they are stored: for each operator weight and bias, float32, without header or padding."""
    return b"".join(array.tobytes() for one in layers(path) for array in (one.weight, one.bias))


def model(path: Path) -> bytes:
    """A path as ONNX: input `x` [N, *shape] float32, output `logits` [N, classes]."""
    g = _Graph()
    x = g.unit(fold(path.stem), "x", "stem")
    for i, block in enumerate(path.blocks):
        x = g.candidate(block, x, f"layers.{i}")  # type: ignore[arg-type]  # a ModuleList of candidates
    return g.finish(g.head(path, x), list(path.layout.input_shape), [path.layout.classes], "logits")


def block(candidate: Candidate, shape: Sequence[int], out: Sequence[int]) -> bytes:
    """One candidate alone: input `x` [N, *shape], output `y` [N, *out]."""
    g = _Graph()
    return g.finish(g.candidate(candidate, "x", "block"), list(shape), list(out), "y")


def nothing(shape: Sequence[int]) -> bytes:
    """A graph that hands `x` [N, *shape] through a ReLU: what a session alone costs."""
    g = _Graph()
    return g.finish(g.op("Relu", ["x"], "relu"), list(shape), list(shape), "y")


class _Graph:
    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def op(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, value: NDArray[Any]) -> str:
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def unit(self, folded: Folded, x: str, name: str) -> str:
        op = folded.op
        inputs = [x, self.constant(f"{name}.weight", folded.weight), self.constant(f"{name}.bias", folded.bias)]
        if op.conv:
            y = self.op("Conv", inputs, f"{name}.conv", kernel_shape=[op.kernel] * 2, strides=[op.stride] * 2,
                        pads=[op.kernel // 2] * 4, group=op.groups)  # fmt: skip
        else:
            y = self.op("Gemm", inputs, f"{name}.gemm", transB=1)
        return self.op("Relu", [y], f"{name}.relu") if op.relu else y

    def candidate(self, candidate: Candidate, x: str, name: str) -> str:
        y = x
        for j, unit in enumerate(candidate.units):
            y = self.unit(fold(unit), y, f"{name}.{j}")  # type: ignore[arg-type]  # a ModuleList of units
        return self.op("Add", [x, y], f"{name}.add") if candidate.adds else y

    def head(self, path: Path, x: str) -> str:
        layout = path.layout
        if layout.grid is not None:
            x = self._pool(layout, x)
            x = self.op("Flatten", [x], "head.flat")
        weight = self.constant("head.weight", _array(path.head.weight))
        bias = self.constant("head.bias", _array(path.head.bias))
        return self.op("Gemm", [x, weight, bias], "head.gemm", transB=1)

    def _pool(self, layout: Layout, x: str) -> str:
        if layout.grid == layout.last:
            return x
        # Adaptive pooling of a side n to 2: windows of n - floor(n / 2), floor(n / 2) apart; a side of 1 stays.
        strides = [max(1, side // 2) for side in layout.last]
        kernel = [side - side // 2 if side > 1 else 1 for side in layout.last]
        return self.op("AveragePool", [x], "head.mean", kernel_shape=kernel, strides=strides)

    def finish(self, last: str, shape: list[int], out: list[int], output: str) -> bytes:
        self.op("Identity", [last], output)
        inputs, outputs = [_info("x", shape)], [_info(output, out)]
        graph = helper.make_graph(self.nodes, "searchd", inputs, outputs, self.constants)
        opsets = [helper.make_opsetid("", OPSET)]
        made = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="searchd")
        onnx.checker.check_model(made)
        return bytes(made.SerializeToString())


def _info(name: str, shape: list[int]) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape])


def _array(tensor: torch.Tensor) -> Floats:
    return np.ascontiguousarray(tensor.detach().cpu().numpy().astype(np.float32))
