"""The language model as ONNX: whole sequences for its numbers, one decoded token for its latency.

`sequence`: input `x` int64 [N, T] and `active` float32 [layers, T], output `logits` [N, T, symbols].
`token`: input `x` int64 [1], one symbol at the last position of a full cache, through the given layers; the caches
[heads, context, width / heads] are constants, for what they hold costs nothing else. Output `logits` [1, symbols].
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
from numpy.random import Generator
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from spaces.operators import Operator
from workers.nets.graph import IR_VERSION, OPSET
from workers.nets.transformer import LanguageModel


def sequence(net: LanguageModel) -> bytes:
    """All layers over whole sequences of `context` symbols, each layer where `active` says so."""
    spec, g = net.spec, _Graph(net)
    t = spec.context
    g.constant("causal", np.triu(np.full((t, t), -1e9, np.float32), 1))
    x = g.op("Add", g.op("Gather", g.weight("symbols.weight"), "x"), g.weight("positions.weight"))
    split = g.ints("split", [0, t, 3, spec.heads, spec.width // spec.heads])
    joined = g.ints("joined", [0, t, spec.width])
    for number in range(spec.depth):
        name = f"layers.{number}"
        qkv = g.op("Reshape", g.linear(g.norm(x, f"{name}.first"), f"{name}.qkv"), split)
        q, k, v = (g.op("Gather", qkv, g.scalar(i), axis=2) for i in range(3))
        q, v = (g.op("Transpose", one, perm=[0, 2, 1, 3]) for one in (q, v))
        k = g.op("Transpose", k, perm=[0, 2, 3, 1])
        scores = g.op("Add", g.op("Mul", g.op("MatMul", q, k), g.root(spec.width // spec.heads)), "causal")
        attended = g.op("Transpose", g.op("MatMul", g.op("Softmax", scores, axis=-1), v), perm=[0, 2, 1, 3])
        y = g.linear(g.op("Reshape", attended, joined), f"{name}.out")
        added = g.op("Add", y, g.feed(g.op("Add", x, y), name))
        row = g.op("Gather", "active", g.scalar(number), axis=0)
        x = g.op("Add", x, g.op("Mul", added, g.op("Unsqueeze", row, g.ints("last", [1]))))
    g.linear(g.norm(x, "norm"), "head", "logits")
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.INT64, ["N", t]),
        helper.make_tensor_value_info("active", TensorProto.FLOAT, [spec.depth, t]),
    ]
    return g.model(inputs, ["N", t, spec.symbols])


def token(net: LanguageModel, layers: list[int]) -> bytes:
    """One more symbol through `layers`, the cache full."""
    spec, g = net.spec, _Graph(net)
    head = spec.width // spec.heads
    rng = np.random.default_rng(0)
    x = g.op("Gather", g.weight("symbols.weight"), "x")
    x = g.op("Add", x, g.constant("position", net.positions.weight.detach().numpy()[-1:]))
    for number in layers:
        name = f"layers.{number}"
        qkv = g.linear(g.norm(x, f"{name}.first"), f"{name}.qkv")
        y = g.linear(g.attended(qkv, name, spec.heads, head, spec.context, rng), f"{name}.out")
        x = g.op("Add", g.op("Add", x, y), g.feed(g.op("Add", x, y), name))
    g.linear(g.norm(x, "norm"), "head", "logits")
    return g.model([helper.make_tensor_value_info("x", TensorProto.INT64, [1])], [1, spec.symbols])


def alone(operator: Operator) -> bytes:
    """The model of one operator of a decoded symbol (embed, norm, attention): input `x`, output `logits` [1, width]."""
    d, context = operator.outputs, operator.height
    rng = np.random.default_rng(0)
    g = _Graph(None)
    kind, shape = TensorProto.FLOAT, [1, d]
    match operator.op:
        case "embed":
            kind, shape = TensorProto.INT64, [1]
            rows = g.constant("symbols", rng.standard_normal((operator.inputs, d), dtype=np.float32))
            place = g.constant("position", rng.standard_normal((1, d), dtype=np.float32))
            g.op("Add", g.op("Gather", rows, "x"), place, output="logits")
        case "norm":
            gain, bias = g.constant("gain", np.ones(d, np.float32)), g.constant("bias", np.zeros(d, np.float32))
            g.op("LayerNormalization", "x", gain, bias, output="logits", axis=-1, epsilon=1e-5)
        case "attention":
            shape = [1, 3 * d]
            head = d // operator.groups
            g.op("Identity", g.attended("x", "alone", operator.groups, head, context, rng), output="logits")
        case other:
            raise RuntimeError(f"{other} is no operator of a decoded symbol: this is a bug")
    return g.model([helper.make_tensor_value_info("x", kind, shape)], [1, d])


class _Graph:
    """Nodes and constants; values are named by count, weights as in the module, where there is one."""

    def __init__(self, net: LanguageModel | None) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        state = {} if net is None else net.state_dict()
        self._state = {name: value.detach().numpy() for name, value in state.items()}

    def constant(self, name: str, value: NDArray[Any]) -> str:
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.array(value, order="C"), name)
        return name

    def weight(self, name: str) -> str:
        return self.constant(name, self._state[name])

    def ints(self, name: str, values: list[int]) -> str:
        return self.constant(name, np.array(values, np.int64))

    def scalar(self, value: int) -> str:
        return self.constant(f"number.{value}", np.array(value, np.int64))

    def root(self, head: int) -> str:
        return self.constant("root", np.array(1 / math.sqrt(head), np.float32))

    def op(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        made = output or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [made], name=made, **attributes))
        return made

    def linear(self, x: str, name: str, output: str | None = None) -> str:
        matrix = self.constant(f"{name}.weight", self._state[f"{name}.weight"].T)
        return self.op("Add", self.op("MatMul", x, matrix), self.weight(f"{name}.bias"), output=output)

    def attended(self, qkv: str, name: str, heads: int, head: int, context: int, rng: Generator) -> str:
        """What one symbol [1, 3 width] attends to in a full cache, itself the last: [1, width]."""
        apart = self.op("Reshape", qkv, self.ints("split", [3, heads, 1, head]))
        q, k, v = (self.op("Gather", apart, self.scalar(i), axis=0) for i in range(3))
        keys, values = (
            self.constant(f"{name}.{kind}", rng.standard_normal((heads, context - 1, head)).astype(np.float32))
            for kind in ("keys", "values")
        )
        k = self.op("Transpose", self.op("Concat", keys, k, axis=1), perm=[0, 2, 1])
        scores = self.op("Mul", self.op("MatMul", q, k), self.root(head))
        attended = self.op("MatMul", self.op("Softmax", scores, axis=-1), self.op("Concat", values, v, axis=1))
        return self.op("Reshape", attended, self.ints("joined", [1, heads * head]))

    def norm(self, x: str, name: str) -> str:
        gain, bias = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.op("LayerNormalization", x, gain, bias, axis=-1, epsilon=1e-5)

    def feed(self, x: str, name: str) -> str:
        inside = self.op("Relu", self.linear(self.norm(x, f"{name}.second"), f"{name}.up"))
        return self.linear(self.op("Mul", inside, inside), f"{name}.down")

    def model(self, inputs: list[Any], shape: list[int | str]) -> bytes:
        outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)]
        graph = helper.make_graph(self.nodes, "searchd", inputs, outputs, list(self.constants.values()))
        made = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="searchd"
        )
        onnx.checker.check_model(made)
        return bytes(made.SerializeToString())
