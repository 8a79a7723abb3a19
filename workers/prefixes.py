"""Shorter models out of an exported one, so that a prefix can be timed from the file that was deployed.

`upto_exit`: a multi-exit model up to one of its exits, earlier heads included, as it was timed when it was exported.
`upto_layer`: the token model of a language model through its first layers, and then its head.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx

from searchd.errors import SearchdError


class BadModel(SearchdError):
    """A model file that has not what its card says."""


def exits_of(model: bytes) -> int:
    """How many exits a model has: its outputs `exit0`, `exit1`, …"""
    return sum(o.name.startswith("exit") for o in onnx.load_from_string(model).graph.output)


def upto_exit(model: bytes, last: int) -> bytes:
    """The model with the outputs `exit0` to `exit{last}`, and nothing that none of them needs. BadModel when one is
    missing."""
    graph = onnx.load_from_string(model)
    wanted = [f"exit{k}" for k in range(last + 1)]
    there = {o.name: o for o in graph.graph.output}
    if missing := [name for name in wanted if name not in there]:
        raise BadModel(f"the model has the outputs {', '.join(there)} and no {missing[0]}: copy the export again")
    return _pruned(graph, [there[name] for name in wanted])


def upto_layer(model: bytes, layers: int) -> bytes:
    """A token model through its first `layers` layers (1 or more). BadModel when it has fewer."""
    graph = onnx.load_from_string(model)
    enters = {n.input[1]: n for n in graph.graph.node if n.op_type == "LayerNormalization"}
    final, following = enters.get("norm.weight"), enters.get(f"layers.{layers}.first.weight")
    if final is None or f"layers.{layers - 1}.first.weight" not in enters:
        raise BadModel(f"the token model has not the {layers} layers that its card lists: copy the export again")
    if following is not None:
        final.input[0] = following.input[0]
    return _pruned(graph, list(graph.graph.output))


def _pruned(model: Any, outputs: Sequence[Any]) -> bytes:
    """The model with these outputs, and only the nodes and constants that they need, in their order."""
    graph = model.graph
    needed, kept = {o.name for o in outputs}, []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    constants = [c for c in graph.initializer if c.name in needed]
    for field, values in (("node", kept[::-1]), ("initializer", constants), ("output", list(outputs))):
        graph.ClearField(field)
        getattr(graph, field).extend(values)
    return bytes(model.SerializeToString())
