"""One operator alone as a model that the runtime can time: ONNX, weights that mean nothing, one sample.

An operator of 8 bits is written as in a whole network (QDQ): its input comes as uint8 and leaves as uint8, so that the
runtime takes the integer kernel and no conversion is timed with it. A resize of 32 bits is bilinear, two matrix
products, as in sub-networks. `empty` is a model that does nothing: what a call costs by itself, which is taken off
every row of a table.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from searchd.errors import Refused
from spaces.operators import Operator
from workers.nets import transformer_graph
from workers.nets.elastic import resizers
from workers.nets.graph import IR_VERSION, OPSET

SCALE = 0.05
DECODED = ("embed", "norm", "attention")
"""Operators of a decoded symbol of a language model; the rest are those of networks of layers."""


def empty() -> bytes:
    """A model that hands its input [1, 1] on."""
    return _Alone(TensorProto.FLOAT).model("Identity", ["x"], [1, 1], [1, 1])


def onnx_of(operator: Operator) -> bytes:
    """The model of one operator; input `x` [1, C, H, W] or [1, F], float32, or uint8 where it has 8 bits; of an
    embedding a symbol [1], int64."""
    if operator.op in DECODED:
        return transformer_graph.alone(operator)
    return _quantized(operator) if operator.bits <= 8 else _plain(operator)


def sample(operator: Operator) -> Any:
    """What it reads: zeros and ones do not take another time, but denormals do."""
    if operator.op == "embed":
        return np.ones(1, np.int64)
    dtype = np.float32 if operator.bits > 8 or _onto_levels(operator) else np.uint8
    return np.random.default_rng(0).integers(1, 100, shape_in(operator)).astype(dtype)


def shape_in(operator: Operator) -> list[int]:
    """The shape of one sample with its batch axis."""
    if operator.op in DECODED:
        return {"embed": [1], "norm": [1, operator.inputs]}.get(operator.op, [1, 3 * operator.outputs])
    if operator.op == "linear":
        return [1, operator.inputs]
    return [1, operator.inputs, operator.height, operator.width]


def shape_out(operator: Operator) -> list[int]:
    if operator.op == "linear" or operator.op in DECODED:
        return [1, operator.outputs]
    return [1, operator.outputs, operator.out_height, operator.out_width]


class _Alone:
    """A graph with one operator in the middle."""

    def __init__(self, dtype: int, out: int | None = None) -> None:
        self.dtype, self.out = dtype, dtype if out is None else out
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, name: str, value: Any) -> str:
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def op(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def model(self, kind: str, inputs: list[str], entering: list[int], leaving: list[int], **attributes: Any) -> bytes:
        self.op(kind, inputs, "y", **attributes)
        return self.done(entering, leaving)

    def done(self, entering: list[int], leaving: list[int]) -> bytes:
        graph = helper.make_graph(
            self.nodes, "alone", [helper.make_tensor_value_info("x", self.dtype, entering)],
            [helper.make_tensor_value_info("y", self.out, leaving)], self.constants,
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString())


def _onto_levels(operator: Operator) -> bool:
    """A resize to the side that a map has, at 8 bits: what putting it on levels costs."""
    return operator.op == "resize" and operator.bits <= 8 and shape_in(operator) == shape_out(operator)


def _attributes(operator: Operator) -> dict[str, Any]:
    """What the ONNX operator is told."""
    if operator.op == "conv":
        k, pad = operator.kernel, operator.kernel // 2
        return {"kernel_shape": [k, k], "pads": [pad] * 4, "strides": [operator.stride] * 2, "group": operator.groups}
    if operator.op == "linear":
        return {"transB": 1}
    sides = (operator.height, operator.width)
    if operator.stride == 2:
        return {"kernel_shape": [2, 2], "strides": [2, 2]}
    cells = [1 if side == 1 else operator.kernel for side in sides]
    strides = [max(1, side // cell) for side, cell in zip(sides, cells, strict=True)]
    kernel = [side - (cell - 1) * stride for side, cell, stride in zip(sides, cells, strides, strict=True)]
    return {"kernel_shape": kernel, "strides": strides}


def _kind(operator: Operator) -> str:
    if operator.op == "pool":
        return "MaxPool" if operator.stride == 2 else "AveragePool"
    return {"conv": "Conv", "linear": "Gemm", "add": "Add", "resize": "Resize"}[operator.op]


def _weight(operator: Operator) -> list[int]:
    if operator.op == "linear":
        return [operator.outputs, operator.inputs]
    return [operator.outputs, operator.inputs // operator.groups, operator.kernel, operator.kernel]


def _plain(operator: Operator) -> bytes:
    g = _Alone(TensorProto.FLOAT)
    entering, leaving = shape_in(operator), shape_out(operator)
    if operator.op in ("conv", "linear"):
        rng = np.random.default_rng(0)
        w = g.constant("w", rng.normal(size=_weight(operator)).astype(np.float32))
        b = g.constant("b", np.zeros(operator.outputs, np.float32))
        made = g.op(_kind(operator), ["x", w, b], "z", **_attributes(operator))
        return g.model("Relu", [made], entering, leaving)
    if operator.op == "add":
        return g.model("Add", ["x", "x"], entering, leaving)
    if operator.op == "resize":
        rows, columns = (matrix.numpy() for matrix in resizers(operator))
        down = g.op("MatMul", [g.constant("rows", rows), "x"], "down")
        return g.model("MatMul", [down, g.constant("columns", np.ascontiguousarray(columns.T))], entering, leaving)
    return g.model(_kind(operator), ["x"], entering, leaving, **_attributes(operator))


def _quantized(operator: Operator) -> bytes:
    entering, leaving = shape_in(operator), shape_out(operator)
    levels = _onto_levels(operator)
    g = _Alone(TensorProto.FLOAT if levels else TensorProto.UINT8, TensorProto.UINT8)
    scale = g.constant("scale", np.array(SCALE, np.float32))
    zero = g.constant("zero", np.zeros((), np.uint8))
    if levels:
        return g.model("QuantizeLinear", ["x", scale, zero], entering, leaving)
    x = g.op("DequantizeLinear", ["x", scale, zero], "x.f")
    if operator.op in ("conv", "linear"):
        rng = np.random.default_rng(0)
        codes = g.constant("w.q", rng.integers(-100, 100, _weight(operator)).astype(np.int8))
        scales = g.constant("w.scale", np.full(operator.outputs, SCALE, np.float32))
        zeros = g.constant("w.zero", np.zeros(operator.outputs, np.int8))
        w = g.op("DequantizeLinear", [codes, scales, zeros], "w", axis=0)
        bias = g.constant("b.q", np.zeros(operator.outputs, np.int32))
        steps = g.constant("b.scale", np.full(operator.outputs, SCALE * SCALE, np.float32))
        nils = g.constant("b.zero", np.zeros(operator.outputs, np.int32))
        b = g.op("DequantizeLinear", [bias, steps, nils], "b", axis=0)
        y = g.op("Relu", [g.op(_kind(operator), [x, w, b], "z", **_attributes(operator))], "r")
    elif operator.op == "resize":
        sizes = g.constant("sizes", np.array(leaving, np.int64))
        y = g.op("Resize", [x, "", "", sizes], "r", mode="nearest")
    elif operator.op == "add":
        y = g.op("Add", [x, x], "r")
    else:
        y = g.op(_kind(operator), [x], "r", **_attributes(operator))
    return g.model("QuantizeLinear", [y, scale, zero], entering, leaving)


class TorchOperator(nn.Module):
    """One operator in torch, float32 whatever its bits: torch has no integer kernels for these here."""

    weight: Tensor
    bias: Tensor

    def __init__(self, operator: Operator) -> None:
        super().__init__()
        if operator.op in DECODED:
            raise Refused(f"{operator.op} is timed by ONNX Runtime: register the device with --runtime onnxruntime")
        self.operator = operator
        if operator.op in ("conv", "linear"):
            generator = torch.Generator().manual_seed(0)
            self.register_buffer("weight", torch.randn(_weight(operator), generator=generator))
            self.register_buffer("bias", torch.zeros(operator.outputs))

    def forward(self, x: Tensor) -> Tensor:
        o = self.operator
        match o.op:
            case "conv":
                return functional.relu(
                    functional.conv2d(x, self.weight, self.bias, o.stride, o.kernel // 2, groups=o.groups)
                )
            case "linear":
                return functional.relu(functional.linear(x, self.weight, self.bias))
            case "pool" if o.stride == 2:
                return functional.max_pool2d(x, 2)
            case "pool":
                return functional.adaptive_avg_pool2d(x, (o.out_height, o.out_width))
            case "add":
                return x + x
            case _:
                return functional.interpolate(x, (o.out_height, o.out_width)) if o.kernel != o.height else x.clone()
