"""ONNX of a sub-network.

Weights are float32 constants: quantized ones are written as the values that they stand for, since this runtime gains
nothing from narrow weights with float activations; `weights.bin` has them packed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from spaces.operators import WEIGHTED, Operator
from workers.nets.elastic import resizers
from workers.nets.graph import IR_VERSION, OPSET
from workers.nets.subnet import Subnet

Array = NDArray[np.float32]


def build(net: Subnet, last_exit: int | None = None) -> bytes:
    """The model: input `x` [N, *shape] float32, outputs `exit0`, … [N, classes], one an exit. `last_exit`: what runs
    until that exit answers, the heads before it too."""
    space = net.spec.space
    g = _Graph()
    x = entered = "x"
    outputs: list[str] = []
    for segment in net.spec.segments if last_exit is None else net.spec.segments[: last_exit + 1]:
        aside = x
        for step in segment:
            operator = step.operator
            if operator.op in WEIGHTED:
                entered = x if step.name.endswith(".widen") else entered
                found = net.cuts[step.name]
                out = f"exit{len(outputs)}" if step.is_head else step.name
                if step.is_head and space.image:
                    aside = g.op("Flatten", [aside], f"{step.name}.flat")
                y = g.layer(operator, aside, step.name, _array(found.weight), _array(found.bias), step.relu, out)
            else:
                y = g.plain(operator, aside, step.name, entered)
            x, aside = (x, y) if step.early else (y, y)
            outputs += [y] if step.is_head else []
    return g.model(list(space.input_shape), outputs, space.classes)


class _Graph:
    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, name: str, value: NDArray[Any]) -> str:
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def op(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=f"{output}.{kind}", **attributes))
        return output

    def layer(self, o: Operator, x: str, name: str, weight: Array, bias: Array, relu: bool, out: str) -> str:
        shaped = weight.reshape(o.outputs, -1) if o.op == "linear" else weight
        inputs = [x, self.constant(f"{name}.weight", shaped), self.constant(f"{name}.bias", bias)]
        linear = f"{out}.linear" if relu else out
        if o.op == "linear":
            self.op("Gemm", inputs, linear, transB=1)
        else:
            pads, strides = [o.kernel // 2] * 4, [o.stride] * 2
            self.op("Conv", inputs, linear, kernel_shape=[o.kernel] * 2, pads=pads, strides=strides, group=o.groups)
        return self.op("Relu", [linear], out) if relu else out

    def plain(self, o: Operator, x: str, name: str, entered: str) -> str:
        """An operator without weights; `entered`: what an add adds."""
        match o.op:
            case "add":
                return self.op("Add", [x, entered], name)
            case "pool":
                # A side n to 2 cells: windows of n - floor(n / 2), floor(n / 2) apart; to 1 cell: the whole side.
                sides = ((o.height, o.out_height), (o.width, o.out_width))
                kernel = [n if cells == 1 else n - n // 2 for n, cells in sides]
                strides = [max(1, n // 2) if cells == 2 else 1 for n, cells in sides]
                return self.op("AveragePool", [x], name, kernel_shape=kernel, strides=strides)
            case "resize":
                rows, columns = resizers(o)
                down = self.op("MatMul", [self.constant(f"{name}.rows", _array(rows)), x], f"{name}.down")
                return self.op("MatMul", [down, self.constant(f"{name}.columns", _array(columns.T))], name)
        raise RuntimeError(f"{o.op} is no operator without weights: this is a bug")

    def model(self, shape: list[int], outputs: Sequence[str], classes: int) -> bytes:
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *shape])
        found = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", classes]) for name in outputs]
        graph = helper.make_graph(self.nodes, "searchd", [x], found, self.constants)
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="searchd")
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString())


def _array(tensor: Any) -> Array:
    return np.ascontiguousarray(tensor.detach().numpy().astype(np.float32))
