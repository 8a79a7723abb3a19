"""Front sub-networks of a trained super-network as files, and their numbers taken again from those files.

`trials/<n>/point-<k>/` gets for each point that is asked for: `model.onnx` (this sub-network alone), `weights.bin` (its
packed weights, `workers.nets.subnet.pack` says the layout), `config.json` (the super-network's config and the genome)
and `card.json`. It is cut out of the checkpoint anew, from `subnet` alone; with early exits its `thresholds` say who
leaves where.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from searchd.wire import JobSpec
from spaces.builtin.supernet import SupernetForm, space_of
from spaces.errors import SpaceError
from spaces.exits import in_words
from spaces.subnets import SubnetSpec, subnet, whole
from workers import data as datasets
from workers import measure
from workers.data import Data
from workers.export import ExportError, answer, as_json, selected, write
from workers.nets.elastic import Supernet
from workers.nets.subnet import cut, pack
from workers.nets.subnet_graph import build
from workers.supernet.finder import calibration, judged
from workers.tasks.exits import Outcome, correct, expected_cost, outcome, scores
from workers.trial import Trial


def export(trial: Trial, spec: JobSpec) -> dict[str, Any]:
    """Write the files of every point in `spec.points` and answer their verified metrics: `val_error`, `test_error`,
    `test_accuracy` (percent), `latency_ms` and `latency_p95_ms` of the model, `params`, `macs`, `bops`, `bytes`."""
    data = datasets.load(trial.options)
    net = Supernet(space_of(trial.options, trial.config), trial.seed)
    if not trial.load(model=net):
        raise ExportError(
            f"trial {spec.trial} has no checkpoint that can be read, so there is nothing to export: train it again"
        )
    wanted = SupernetForm.model_validate(trial.options).calibration
    sample = data.train.x[calibration(len(data.train), wanted)]
    points, files = [], []
    for point in spec.points:
        verified, contents = _one(trial, spec, point, net, data, sample)
        folder = trial.files / f"point-{point['point']}"
        folder.mkdir(exist_ok=True)
        for name, content in contents.items():
            write(folder / name, content)
            files.append(f"{folder.name}/{name}")
        points.append(verified)
    return {"points": points, "files": files, "device": measure.device()}


def _one(
    trial: Trial, spec: JobSpec, point: Mapping[str, Any], net: Supernet, data: Data, sample: torch.Tensor
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """(the verified point, its files by name)."""
    try:
        found = cut(net, subnet(net.space, whole(point.get("subnet"))), sample)
    except SpaceError as error:
        raise ExportError(f"point {point.get('point')} cannot be rebuilt: {error}") from None
    model, weights, exits = build(found), pack(found), len(found.spec.segments)
    chosen, on_val, on_test = left(point, model, data, exits)
    x = np.random.default_rng(0).random((1, *data.shape), dtype=np.float32)
    timed = measure.time_models([build(found, k) for k in range(exits)], x)
    cumulative = [one.p50_ms for one in timed]
    metrics = {
        **found.spec.metrics, "val_error": on_val.error, "test_error": on_test.error,
        "test_accuracy": 100.0 - on_test.error, "latency_ms": expected_cost(on_val.rates, cumulative),
        "latency_p95_ms": expected_cost(on_val.rates, [one.p95_ms for one in timed]), "bytes": float(len(weights)),
    }  # fmt: skip
    verified = {"point": point["point"], "subnet": dict(found.spec.genome), "metrics": metrics}
    if exits > 1:
        verified |= {**chosen, "exit_rates": list(on_val.rates), "test_exit_rates": list(on_test.rates),
                     "cumulative_ms": cumulative}  # fmt: skip
    card = {
        "study": spec.study, "trial": spec.trial, "step": spec.until, "seed": spec.seed, **verified,
        "data": {"name": data.name, "labels": list(data.labels)},
        "input": {
            "name": "x", "shape": ["N", *data.shape], "dtype": "float32", "normalise": "x = (raw - shift) * scale",
            "shift": data.shift.tolist(), "scale": data.scale.tolist(),
        },
        "output": {"name": "exit0", "shape": ["N", data.classes], "meaning": "logits"},
        **({"exits": {"outputs": [f"exit{k}" for k in range(exits)], "rule": in_words(chosen["rule"])}}
           if exits > 1 else {}),
        "layers": layers(found.spec), "device": measure.device(), "latency_spread": [one.spread for one in timed],
        "latency_summed_ms": point.get("latency_ms"),
    }  # fmt: skip
    config = {**trial.config, "subnet": dict(found.spec.genome)}
    files = {
        "model.onnx": model, "weights.bin": weights, "config.json": as_json(config), "card.json": as_json(card),
    }  # fmt: skip
    return verified, files


def left(
    point: Mapping[str, Any], model: bytes, data: Data, exits: int
) -> tuple[dict[str, Any], Outcome, Outcome]:
    """(what selects who leaves where, what came of it on validation, on test), by the model file's own answers."""
    if exits > 1 and "thresholds" not in point:
        raise ExportError(f"point {point.get('point')} has no thresholds, but its network {exits} exits: verify points "
                          "that the task reported")  # fmt: skip
    chosen: dict[str, Any] = {} if exits == 1 else selected(point, exits)
    runtime, found = measure.session(model), []
    for part in (data.val, data.test):
        logits, y = answer(runtime, part), part.y.numpy()
        if exits == 1:  # the error as training says it, in float32
            found.append(Outcome((), judged(torch.from_numpy(logits[0]), part.y)[0], (1.0,)))
            continue
        found.append(outcome(scores(chosen["rule"], logits, chosen["temperatures"]), correct(logits, y),
                             chosen["thresholds"]))  # fmt: skip
    return chosen, found[0], found[1]


def layers(spec: SubnetSpec) -> list[dict[str, Any]]:
    """One entry a layer, in the order of `weights.bin`; `note` where the runtime computes wider than is stored."""
    out = []
    for step in spec.layers:
        o = step.operator
        shape = [o.outputs, o.inputs // o.groups, o.kernel, o.kernel]
        entry = {"name": step.name, "op": o.op, "weights": shape, "stride": o.stride, "groups": o.groups,
                 "relu": step.relu, "weight_bits": o.bits, "bytes": o.bytes}  # fmt: skip
        if o.bits < 32:
            entry["note"] = f"stored at {o.bits:g} bits, computed in float32"
        out.append(entry)
    return out
