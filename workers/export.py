"""A trained network as files, and its numbers taken again from those files.

`trials/<n>/` gets: `model.onnx` (all exits; integer kernels where the runtime has them), `weights.bin` (the packed
weights, `spaces.nets` says the layout), `config.json`, and `card.json` (what it is, how to feed it, what it does). An
operating point with other weight bits is another network: its files have the bits in their names (`model-8-4.onnx`).
Errors come from running `model.onnx` itself; latencies from its prefixes, measured one by one, for one sample and for a
batch of BATCH.
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
from spaces.exits import DEFAULTS, RULES, in_words
from spaces.nets import NetSpec, network
from spaces.suggest import did_you_mean
from spaces.widths import said
from workers import data as datasets
from workers import measure
from workers.data import Data, Part
from workers.measurers import measurer
from workers.nets.fold import FoldedNet, fold
from workers.nets.graph import build
from workers.nets.modules import Net
from workers.nets.pack import pack
from workers.tasks import allocate
from workers.tasks.exits import batch_cost, correct, expected_cost, outcome, scores
from workers.trial import Trial

BATCH = 32
"""Samples in the batch whose latency the card says too."""
FILES = ("model.onnx", "weights.bin", "config.json", "card.json")


class ExportError(SearchdError):
    """A trial that cannot be exported."""


def export(trial: Trial, spec: JobSpec) -> dict[str, Any]:
    """Write the files of a trial and answer its points' verified metrics.

    Each of `spec.points` has `point` and what `selected` reads, and `bits` where it is a bit allocation. Metrics:
    `val_error`, `test_error`, `test_accuracy` (percent), `latency_ms` and `latency_p95_ms` (Σ exit rate on validation ×
    p50 or p95 up to that exit: as during the search), `bytes` of the packed weights.
    """
    data = datasets.load(trial.options)
    net = Net(network(trial.config, data.shape, data.classes), trial.seed)
    if not trial.load(model=net):
        raise ExportError(
            f"trial {spec.trial} has no checkpoint that can be read, so there is nothing to export: train it again"
        )
    kinds: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {(): []}
    for point in spec.points:
        kinds.setdefault(tuple(point.get("bits") or ()), []).append(point)
    found: dict[Any, dict[str, Any]] = {}
    files: list[str] = []
    result: dict[str, Any] = {}
    for bits, asked in kinds.items():
        config = {**trial.config, "bits": list(bits)} if bits else dict(trial.config)
        this = allocate.deployed(net, bits, data, allocate.tuning(trial.options)) if bits else net
        points, names, measured = _write_network(trial.files, spec, data, fold(this.eval()), config, asked, bits)
        found |= {p["point"]: p for p in points}
        files += names
        result = result or measured
    return {"points": [found[p["point"]] for p in spec.points], "files": files, **result}


def _write_network(
    folder: Path, spec: JobSpec, data: Data, folded: FoldedNet, config: Mapping[str, Any],
    asked: Sequence[Mapping[str, Any]], bits: Sequence[Any],
) -> tuple[list[dict[str, Any]], list[str], dict[str, Any]]:  # fmt: skip
    """The files of one network: (its points, the names, what a measure job would say). `bits`: of an allocation."""
    model, weights = build(folded), pack(folded)
    measured = measure.latency(folded, measurer(spec.runtime or "onnxruntime", spec.low_bit))
    points = verify(model, data, asked, measured, len(weights))
    card = _card(spec, data, folded, measured, _batched(points, measure.latency(folded, batch=BATCH)))
    contents = (model, weights, as_json(config), as_json(card))
    suffix = "".join(f"-{b:g}" if isinstance(b, int | float) else f"-{b}" for b in bits)
    names = [f"{Path(name).stem}{suffix}{Path(name).suffix}" for name in FILES]
    for name, content in zip(names, contents, strict=True):
        write(folder / name, content)
    return points, names, measured.as_result()


def verify(
    model: bytes, data: Data, points: Sequence[Mapping[str, Any]], measured: measure.Measured, size: int
) -> list[dict[str, Any]]:
    """The metrics of each operating point, from the exported model's own answers on validation and test."""
    runtime = measure.session(model)
    answers = [(answer(runtime, part), part.y.numpy()) for part in (data.val, data.test)]
    p50 = [e.p50_ms for e in measured.exits]
    p95 = [e.p95_ms for e in measured.exits]
    verified = []
    for point in points:
        chosen = selected(point, len(p50))
        rule, thresholds, warm = chosen["rule"], chosen["thresholds"], chosen["temperatures"]
        on_val, on_test = (outcome(scores(rule, z, warm), correct(z, y), thresholds) for z, y in answers)
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
                **chosen,
                **({"bits": list(point["bits"])} if point.get("bits") else {}),
                "exit_rates": list(on_val.rates),
                "test_exit_rates": list(on_test.rates),
                "metrics": metrics,
            }
        )
    return verified


def selected(point: Mapping[str, Any], exits: int) -> dict[str, Any]:
    """The `rule`, `thresholds` and `temperatures` of a reported point. Older ones have one `threshold` for all exits.
    ExportError when they are not those of a network with so many exits."""
    said = point.get("thresholds", [point["threshold"]] * (exits - 1) if "threshold" in point else None)
    rule, warm = point.get("rule", DEFAULTS["exit_rule"]), point.get("temperatures") or []
    if rule not in RULES:
        raise ExportError(f"point {point.get('point')} has the rule {rule!r}: {did_you_mean(str(rule), RULES)}")
    for name, values, wanted in (("thresholds", said, (exits - 1,)), ("temperatures", warm, (0, exits))):
        if not _numbers(values) or len(values) not in wanted:
            raise ExportError(
                f"point {point.get('point')} has the {name} {values!r}, but needs {wanted[-1]} numbers:"
                " verify points that the task reported"
            )
    return {"rule": rule, "thresholds": [float(t) for t in said or ()], "temperatures": [float(t) for t in warm]}


def _numbers(values: object) -> bool:
    return isinstance(values, list | tuple) and all(
        isinstance(v, int | float) and not isinstance(v, bool) for v in values
    )


def _batched(points: Sequence[Mapping[str, Any]], measured: measure.Measured) -> list[dict[str, Any]]:
    """Points with what a batch of BATCH costs: `whole_ms` when it waits for its slowest member, `compacted_ms` when
    those that answered are taken out (then a segment costs by the share that runs it)."""
    costs, out = [e.p50_ms for e in measured.exits], []
    for point in points:
        rates = point["exit_rates"]
        whole, compacted = batch_cost(rates, costs, BATCH), expected_cost(rates, costs)
        out.append({**point, "batch": {"size": BATCH, "whole_ms": whole, "compacted_ms": compacted}})
    return out


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
            "rules": {rule: in_words(rule) for rule in sorted({str(p["rule"]) for p in points})},
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
        entry |= {"kernel": layer.kernel, "weight_bits": said(layer.bits, layer.form), "kernel_bits": runs}
        entry["bytes"] = layer.bytes
        if layer.shared == "group":
            entry["group"] = layer.group
        if layer.reads is not None:
            entry["activation_bits"] = said(layer.activation_bits, layer.activation_form)
        if layer.bits < runs:
            stored = layer.form or f"{layer.bits:g} bits"
            entry["note"] = f"stored at {stored}, runs at {runs}: this runtime has no narrower kernel for it"
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
