"""ONNX built directly from folded weights: all exits of a network, or the prefix up to one of them.

Quantized layers are written as QDQ (QuantizeLinear → DequantizeLinear around Conv, MaxPool, AveragePool, Gemm):
standard operators that any runtime can execute, and that ONNX Runtime turns into integer kernels (QLinearConv,
QLinearAveragePool, QGemm); measured here, that optimised graph is the one that hand-written QLinearConv gives.
Weights int8 a channel, activations uint8 (u8 × s8: what VNNI multiplies), biases int32 in steps of scale_in · scale_w.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from spaces.nets import Exit
from workers.nets.fold import Floats, Folded, FoldedNet, Grid

OPSET = 17
IR_VERSION = 9
BIAS_LIMIT = 2.0**30
"""Integer biases stay below this: half of int32, so that a sum over the taps cannot overflow."""


def build(net: FoldedNet, last_exit: int | None = None) -> bytes:
    """The model as ONNX bytes: input `x` [N, *shape] float32, one output `exit{i}` [N, classes] per exit.

    `last_exit`: the exit (0, 1, …) where a prefix ends; earlier heads stay in it, for they run before it. None: all.
    """
    exits = net.spec.exits if last_exit is None else net.spec.exits[: last_exit + 1]
    heads = {e.block: k for k, e in enumerate(exits)}
    g = _Graph()
    tensor = _Tensor("x", None)
    blocks = net.blocks[: exits[-1].block + 1]
    for i, block in enumerate(blocks):
        meets_quantized = i + 1 < len(blocks) and blocks[i + 1].enter is not None
        tensor = _block(g, block, net.spec.blocks[i].pool, tensor, meets_quantized)
        if i in heads:
            said = (net.heads[i], net.hidden.get(i))
            _head(g, said, exits[heads[i]], net.spec.blocks[i].shape, f"exit{heads[i]}", tensor)
    shape: list[str | int | None] = ["N", *net.spec.input_shape]
    outputs = [
        helper.make_tensor_value_info(f"exit{k}", TensorProto.FLOAT, ["N", net.spec.classes]) for k in range(len(exits))
    ]
    graph = helper.make_graph(
        g.nodes, "searchd", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)], outputs, g.constants
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="searchd"
    )
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


class _Tensor:
    """A value in the graph and, when it is quantized, its grid (the value itself is the dequantized one)."""

    def __init__(self, name: str, grid: Grid | None) -> None:
        self.name, self.grid = name, grid


class _Graph:
    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._named: set[str] = set()

    def constant(self, name: str, value: NDArray[Any]) -> str:
        if name not in self._named:
            self._named.add(name)
            self.constants.append(numpy_helper.from_array(value, name))
        return name

    def op(self, kind: str, inputs: list[str], output: str, node: str | None = None, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=node or output, **attributes))
        return output

    def quantized(self, value: str, grid: Grid, name: str) -> _Tensor:
        """`value` onto `grid` and back: a QuantizeLinear and a DequantizeLinear."""
        scale = self.constant(f"{name}.scale", np.asarray(grid.scale, np.float32))
        zero = self.constant(f"{name}.zero", np.asarray(grid.zero_point, np.uint8))
        q = self.op("QuantizeLinear", [value, scale, zero], f"{name}.q")
        return _Tensor(self.op("DequantizeLinear", [q, scale, zero], f"{name}.dq"), grid)

    def dequantized(self, name: str, codes: NDArray[Any], scale: Floats) -> str:
        """A constant as integers [out, ...] with a scale [out]."""
        stored = self.constant(f"{name}.codes", codes)
        zero = self.constant(f"{name}.zero", np.zeros(len(scale), codes.dtype))
        return self.op("DequantizeLinear", [stored, self.constant(f"{name}.scale", scale), zero], f"{name}.dq", axis=0)


def _weights(g: _Graph, folded: Folded, name: str, grid: Grid | None, shape: tuple[int, ...]) -> list[str]:
    """The names of weight and bias, integer constants when the layer is quantized."""
    if folded.codes is None or folded.scale is None:
        return [g.constant(f"{name}.weight", folded.weight.reshape(shape)), g.constant(f"{name}.bias", folded.bias)]
    if grid is None:
        raise RuntimeError(f"{name} is quantized but its input is not: this is a bug")
    codes, scale = positive(folded.codes, folded.scale, folded.bias, grid.scale)
    step = (np.float32(grid.scale) * scale).astype(np.float32)
    bias = np.round(folded.bias / step.astype(np.float64)).astype(np.int32)
    return [g.dequantized(f"{name}.weight", codes.reshape(shape), scale), g.dequantized(f"{name}.bias", bias, step)]


def positive(
    codes: NDArray[np.int8], scale: Floats, bias: Floats, input_scale: float
) -> tuple[NDArray[np.int8], Floats]:
    """Codes and scales with every scale above 0, and wide enough that the bias fits int32.

    A channel that batch norm turns around has its codes turned instead (all grids but LSQ's are symmetric, and LSQ's
    lowest code negated fits int8). A channel that batch norm all but switches off gets a coarser scale: its weights
    round towards 0, its bias, which is all that is left of it, stays.
    """
    turned = np.where(scale[:, None] < 0, -codes.astype(np.int16), codes)
    least = np.maximum(np.abs(bias).astype(np.float64) / (input_scale * BIAS_LIMIT), 1e-30)
    wide = np.maximum(np.abs(scale).astype(np.float64), least)
    shrink = np.abs(scale) / wide
    return np.round(turned * shrink[:, None]).astype(np.int8), wide.astype(np.float32)


def _block(g: _Graph, folded: Folded, pool: bool, x: _Tensor, meets_quantized: bool) -> _Tensor:
    layer, name = folded.layer, folded.layer.name
    if folded.enter is not None:
        x = g.quantized(x.name, folded.enter, f"{name}.in")
    shape: tuple[int, ...] = (layer.outputs, layer.inputs)
    if layer.op == "conv":
        shape = (layer.outputs, layer.inputs, layer.kernel, layer.kernel)
        inputs = [x.name, *_weights(g, folded, name, x.grid, shape)]
        pads = [layer.kernel // 2] * 4
        y = g.op("Conv", inputs, f"{name}.conv", kernel_shape=[layer.kernel] * 2, pads=pads)
    else:
        y = g.op("Gemm", [x.name, *_weights(g, folded, name, x.grid, shape)], f"{name}.gemm", transB=1)
    # A float layer between quantized ones would be taken for a forgotten one: ONNX Runtime's WeightBiasQuantization
    # makes DequantizeLinear → Conv → Relu → QuantizeLinear an integer kernel with weights that it rounds itself. It
    # does not look behind Max(0, ·), which is the same function.
    if folded.codes is None and x.grid is not None and meets_quantized:
        zero = g.constant("zero", np.zeros((), np.float32))
        out = _Tensor(g.op("Max", [y, zero], f"{name}.relu"), None)
    else:
        out = _Tensor(g.op("Relu", [y], f"{name}.relu"), None)
    if folded.leave is not None:
        out = g.quantized(out.name, folded.leave, f"{name}.out")
    if pool:
        out = _Tensor(g.op("MaxPool", [out.name], f"{name}.pool", kernel_shape=[2, 2], strides=[2, 2]), None)
        if folded.leave is not None:
            out = g.quantized(out.name, folded.leave, f"{name}.pooled")
    return out


def _head(
    g: _Graph, said: tuple[Folded, Folded | None], exit_: Exit, shape: tuple[int, ...], name: str, x: _Tensor
) -> None:
    head, hidden = said
    folded, layer = hidden or head, head.layer
    if exit_.grid is not None:
        if exit_.grid != shape[1:]:
            # Adaptive pooling of a side n to 2: windows of n − floor(n / 2), floor(n / 2) apart; a side of 1 stays.
            strides = [max(1, side // 2) for side in shape[1:]]
            kernel = [side - side // 2 if side > 1 else 1 for side in shape[1:]]
            mean = g.op("AveragePool", [x.name], f"{name}.mean", kernel_shape=kernel, strides=strides)
            x = _Tensor(mean, None) if folded.enter is None else g.quantized(mean, folded.enter, f"{name}.in")
        flat = g.op("Flatten", [x.name], f"{name}.flat")
        x = _Tensor(flat, None) if x.grid is None else g.quantized(flat, x.grid, f"{name}.flat")
    if hidden is not None:
        x = _block(g, replace(hidden, enter=None), False, x, False)
    weights = _weights(g, head, layer.name, x.grid, (layer.outputs, layer.inputs))
    g.op("Gemm", [x.name, *weights], name, node=f"{layer.name}.gemm", transB=1)
