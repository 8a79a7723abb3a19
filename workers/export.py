"""A trained network as files, and its numbers taken again from those files.

`trials/<n>/` gets: `model.onnx` (all exits; integer kernels where the runtime has them), `weights.bin` (the packed
weights, `spaces.nets` says the layout), `config.json`, and `card.json` (what it is, how to feed it, what it does).
Errors come from running `model.onnx` itself; latencies from its prefixes, measured one by one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searchd.wire import JobSpec
from spaces.errors import SearchdError
from spaces.nets import NetSpec, network
from workers import data as datasets
from workers import measure
from workers.data import Data, Part
from workers.measurers import measurer
from workers.nets.fold import FoldedNet, fold
from workers.nets.graph import build
from workers.nets.modules import Net
from workers.nets.pack import pack
from workers.tasks.exits import expected_cost, judge, outcomes
from workers.trial import Trial

FILES = ("model.onnx", "weights.bin", "config.json", "card.json")


class ExportError(SearchdError):
    """A trial that cannot be exported."""


def export(trial: Trial, spec: JobSpec) -> dict[str, Any]:
    """Write the files of a trial and answer its points' verified metrics.

    Each of `spec.points` has `point` and `threshold`. Metrics: `val_error`, `test_error`, `test_accuracy` (percent),
    `latency_ms` and `latency_p95_ms` (Σ exit rate on validation × p50 or p95 up to that exit: as during the search),
    `bytes` of the packed weights.
    """
    data = datasets.load(trial.options)
    net = Net(network(trial.config, data.shape, data.classes), trial.seed)
    if not trial.load(model=net):
        raise ExportError(
            f"trial {spec.trial} has no checkpoint that can be read, so there is nothing to export: train it again"
        )
    folded = fold(net.eval())
    model, weights = build(folded), pack(folded)
    measured = measure.latency(folded, measurer(spec.runtime or "onnxruntime"))
    points = verify(model, data, spec.points, measured, len(weights))
    card = _card(spec, data, folded, measured, points)
    texts = {"config.json": dict(trial.config), "card.json": card}
    contents = {"model.onnx": model, "weights.bin": weights, **{n: as_json(v) for n, v in texts.items()}}
    for name in FILES:
        write(trial.files / name, contents[name])
    return {"points": points, "files": list(FILES), **measured.as_result()}


def verify(
    model: bytes, data: Data, points: Sequence[Mapping[str, Any]], measured: measure.Measured, size: int
) -> list[dict[str, Any]]:
    """The metrics of each operating point, from the exported model's own answers on validation and test."""
    runtime = measure.session(model)
    val, test = (judge(answer(runtime, part), part.y.numpy()) for part in (data.val, data.test))
    p50 = [e.p50_ms for e in measured.exits]
    p95 = [e.p95_ms for e in measured.exits]
    verified = []
    for point in points:
        if not isinstance(point.get("threshold"), int | float):
            raise ExportError(
                f"point {point.get('point')} has the threshold {point.get('threshold')!r}, but needs a number:"
                " verify points that the task reported"
            )
        threshold = float(point["threshold"])
        on_val, on_test = outcomes(*val, threshold), outcomes(*test, threshold)
        metrics = {
            "val_error": on_val.error,
            "test_error": on_test.error,
            "test_accuracy": 100.0 - on_test.error,
            "latency_ms": expected_cost(on_val.rates, p50),
            "latency_p95_ms": expected_cost(on_val.rates, p95),
            "bytes": float(size),
        }
        verified.append(
            {
                "point": point["point"],
                "threshold": threshold,
                "exit_rates": list(on_val.rates),
                "test_exit_rates": list(on_test.rates),
                "metrics": metrics,
            }
        )
    return verified


def answer(runtime: Any, part: Part) -> list[NDArray[np.float32]]:
    """The logits [n, classes] of every exit for all samples of `part`."""
    return [np.asarray(out) for out in runtime.run(None, {"x": part.x.numpy()})]


def _card(
    spec: JobSpec, data: Data, net: FoldedNet, measured: measure.Measured, points: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The model card: enough to use the files without this program."""
    return {
        "study": spec.study,
        "trial": spec.trial,
        "step": spec.until,
        "seed": spec.seed,
        "data": {
            "name": data.name,
            "labels": list(data.labels),
            "samples": {"train": len(data.train), "validation": len(data.val), "test": len(data.test)},
        },
        "input": {
            "name": "x",
            "shape": ["N", *data.shape],
            "dtype": "float32",
            "normalise": "x = (raw - shift) * scale",
            "shift": data.shift.tolist(),
            "scale": data.scale.tolist(),
        },
        "exits": {
            "outputs": [f"exit{k}" for k in range(len(net.spec.exits))],
            "rule": "softmax; answer with the first exit whose largest probability >= threshold, else with the last",
        },
        "layers": _layers(net.spec, measured.kernel_bits),
        "latency": measured.as_result(),
        "points": list(points),
    }


def _layers(spec: NetSpec, kernel_bits: Mapping[str, int]) -> list[dict[str, Any]]:
    """One entry a layer, in the order of `weights.bin`; `note` where the runtime's kernel is wider than the weights."""
    out = []
    for layer in spec.layers:
        runs = kernel_bits[layer.name]
        entry = {"name": layer.name, "op": layer.op, "outputs": layer.outputs, "inputs": layer.inputs}
        entry |= {"kernel": layer.kernel, "weight_bits": layer.bits, "kernel_bits": runs, "bytes": layer.bytes}
        if layer.bits < runs:
            entry["note"] = f"stored at {layer.bits:g} bits, runs at {runs}: this runtime has no narrower kernel for it"
        out.append(entry)
    return out


def as_json(value: Any) -> bytes:
    """A value as a text file of sorted, indented JSON."""
    return (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def write(path: Path, content: bytes) -> None:
    """All of it or nothing: a temporary file beside it, flushed to disk, then renamed."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
