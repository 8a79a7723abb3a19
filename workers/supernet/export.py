"""Front sub-networks of a trained super-network as files, and their numbers taken again from those files.

`trials/<n>/point-<k>/` gets for each point that is asked for: `model.onnx` (this sub-network alone), `weights.bin` (its
packed weights, `workers.nets.subnet.pack` says the layout), `config.json` (the super-network's config and the genome)
and `card.json`. It is cut out of the checkpoint anew, from `subnet` alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from searchd.wire import JobSpec
from spaces.builtin.supernet import SupernetForm, space_of
from spaces.errors import SpaceError
from spaces.subnets import SubnetSpec, subnet
from workers import data as datasets
from workers import measure
from workers.data import Data
from workers.export import ExportError, answer, as_json, write
from workers.nets.elastic import Supernet
from workers.nets.subnet import cut, pack
from workers.nets.subnet_graph import build
from workers.supernet.finder import calibration, judged
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
    model, weights = build(found), pack(found)
    runtime = measure.session(model)
    val, test = (
        judged(torch.from_numpy(answer(runtime, part)[0]), part.y)[0] for part in (data.val, data.test)
    )  # fmt: skip
    x = np.random.default_rng(0).random((1, *data.shape), dtype=np.float32)
    (timed,) = measure.time_models([model], x)
    metrics = {
        **found.spec.metrics, "val_error": val, "test_error": test, "test_accuracy": 100.0 - test,
        "latency_ms": timed.p50_ms, "latency_p95_ms": timed.p95_ms, "bytes": float(len(weights)),
    }  # fmt: skip
    verified = {"point": point["point"], "subnet": dict(found.spec.genome), "metrics": metrics}
    card = {
        "study": spec.study, "trial": spec.trial, "step": spec.until, "seed": spec.seed, **verified,
        "data": {"name": data.name, "labels": list(data.labels)},
        "input": {
            "name": "x", "shape": ["N", *data.shape], "dtype": "float32", "normalise": "x = (raw - shift) * scale",
            "shift": data.shift.tolist(), "scale": data.scale.tolist(),
        },
        "output": {"name": "exit0", "shape": ["N", data.classes], "meaning": "logits"},
        "layers": layers(found.spec), "device": measure.device(), "latency_spread": timed.spread,
        "latency_summed_ms": point.get("latency_ms"),
    }  # fmt: skip
    config = {**trial.config, "subnet": dict(found.spec.genome)}
    files = {
        "model.onnx": model, "weights.bin": weights, "config.json": as_json(config), "card.json": as_json(card),
    }  # fmt: skip
    return verified, files


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


def whole(genome: Any) -> Any:
    """A genome whose whole numbers are ints, wherever it has been: a store may have made them floats."""
    if isinstance(genome, Mapping):
        return {name: whole(value) for name, value in genome.items()}
    if isinstance(genome, list | tuple):
        return [whole(value) for value in genome]
    return int(genome) if isinstance(genome, float) and genome.is_integer() else genome
