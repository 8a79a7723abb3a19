"""The latency table of a search: what each candidate of each layer costs on this device, in ms, raw.

A candidate is timed alone, as an ONNX model of one sample, less what a session costs that does nothing; a whole network
is timed once, and what its blocks do not explain (stem, head, the session) is the same for every architecture. A trial
keeps its figures in its folder: it goes on with the same ones, wherever it is resumed. Within a process each is timed
once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as File
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from spaces.blocks import Layer, Layout
from spaces.chains import occurrences
from spaces.predictor import Predictor
from workers import measure
from workers.dnas import graph
from workers.dnas.modules import Candidate, Mixture

_TIMED: dict[str, float] = {}
"""By what was timed: ms. Of this process, whose device does not change."""
FILE = "latency.json"


@dataclass(frozen=True, slots=True)
class Table:
    """`base_ms`: of every architecture; `layers[l]` by candidate; `device`: where it was timed."""

    base_ms: float
    layers: tuple[Mapping[str, float], ...]
    device: str

    def of(self, architecture: Sequence[str]) -> float:
        """The latency of one architecture by the table, in ms."""
        return self.base_ms + sum(t[name] for t, name in zip(self.layers, architecture, strict=True))

    def tensors(self, layout: Layout) -> list[torch.Tensor]:
        """One tensor a layer, in the order of its candidates."""
        pairs = zip(layout.layers, self.layers, strict=True)
        return [torch.tensor([t[name] for name in layer.candidates], dtype=torch.float32) for layer, t in pairs]

    def as_json(self) -> dict[str, Any]:
        return {"device": self.device, "base_ms": self.base_ms, "layers": [dict(t) for t in self.layers]}


@dataclass(frozen=True, slots=True)
class Predicted(Table):
    """A table for what is learned, and what predicts a whole architecture for what is reported."""

    whole: Callable[[Sequence[str]], float]

    def of(self, architecture: Sequence[str]) -> float:
        """The predicted latency of one architecture, in ms."""
        return self.whole(architecture)


def table_of(net: Mixture, folder: File) -> Table:
    """The table that this trial began with, or a new one, which its folder keeps."""
    path = folder / FILE
    known = _read(path, net.layout)
    if known is not None:
        return known
    made = timed(net)
    temporary = path.with_name(f".{FILE}.{os.getpid()}")
    temporary.write_text(json.dumps(made.as_json(), indent=2) + "\n")
    temporary.replace(path)
    return made


def timed(net: Mixture) -> Table:
    """The table of this device."""
    layout = net.layout
    net = Mixture(layout, 0).eval()  # latency depends on shapes, and timing must not touch what is trained
    layers = []
    for layer, candidates in zip(layout.layers, net.layers, strict=True):
        blocks = cast(nn.ModuleList, candidates)
        pairs = zip(layer.candidates, blocks, strict=True)
        layers.append({name: _block_ms(layer, name, cast(Candidate, block)) for name, block in pairs})
    first = [layer.candidates[0] for layer in layout.layers]
    whole = _once(f"net {layout.signature(first)}", layout.input_shape, lambda: graph.model(net.path(first)))
    base = whole - sum(t[name] for t, name in zip(layers, first, strict=True))
    return Table(max(base, 0.0), tuple(layers), measure.device())


def predicted(layout: Layout, predictor: Predictor) -> Predicted:
    """The table that a device's profile makes: what an architecture costs more when one layer's candidate is another,
    seen from that of the cheapest candidates. SpaceError for an operator that the profile does not know."""

    def ms(architecture: Sequence[str]) -> float:
        return predictor.ms(occurrences((layout.operators(architecture),), 0))

    def others(at: Sequence[str], i: int) -> dict[str, float]:
        return {name: ms([*at[:i], name, *at[i + 1 :]]) for name in layout.layers[i].candidates}

    at = [layer.candidates[0] for layer in layout.layers]
    for i in range(len(at)):
        found = others(at, i)
        at[i] = min(found, key=lambda name: found[name])
    base = ms(at)
    layers = tuple({name: ms_ - base for name, ms_ in others(at, i).items()} for i in range(len(at)))
    return Predicted(base, layers, "predicted", ms)


def _block_ms(layer: Layer, name: str, candidate: Candidate) -> float:
    """A candidate alone, less a session that does nothing; `skip` is 0."""
    if not candidate.units:
        return 0.0
    ends = (layer.height, layer.width) if layer.image else ()
    shape = (layer.inputs, *ends)
    out = (layer.outputs, *(-(-side // layer.stride) for side in ends))
    idle = _once(f"nothing {shape}", shape, lambda: graph.nothing(shape))
    return max(_once(layer.key(name), shape, lambda: graph.block(candidate, shape, out)) - idle, 0.0)


def _once(key: str, shape: Sequence[int], build: Any) -> float:
    if key not in _TIMED:
        x = np.random.default_rng(0).random((1, *shape), dtype=np.float32)
        _TIMED[key] = measure.time_models([build()], x)[0].p50_ms
    return _TIMED[key]


def _read(path: File, layout: Layout) -> Table | None:
    """The table in a file; None where there is none, or it is of another layout."""
    try:
        said = json.loads(path.read_text())
        found = Table(float(said["base_ms"]), tuple(said["layers"]), str(said["device"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    fits = len(found.layers) == len(layout.layers) and all(
        set(t) == set(layer.candidates) for t, layer in zip(found.layers, layout.layers, strict=False)
    )
    return found if fits else None
