"""The architectures that a search found, each rebuilt as a network of its own, written as files and measured again.

`trials/<n>/` gets for each point P `model-P.onnx` and `weights-P.bin` (float32, weight and bias of each operator in the
order in which they run), and `config.json` and `card.json`. Errors come from running the model file itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from searchd.wire import JobSpec
from spaces.builtin.dnas import Plan, plan_of
from workers import data as datasets
from workers import measure
from workers.data import Data, Part
from workers.dnas import graph
from workers.dnas.modules import Mixture
from workers.export import ExportError, as_json, write
from workers.trial import Trial


def export(trial: Trial, spec: JobSpec) -> dict[str, Any]:
    """Write the files of the points that are asked for, and answer their verified metrics: `val_error`, `test_error`,
    `test_accuracy` (percent), `latency_ms`, `latency_p95_ms`, `bytes`."""
    from workers.tasks.dnas import halves  # the task knows its parts; it names this function as its export

    data = datasets.load(trial.options)
    plan = plan_of(trial.options, trial.config)
    net = Mixture(plan.layout, trial.seed)
    if not trial.load(model=net):
        raise ExportError(
            f"trial {spec.trial} has no checkpoint that can be read, so there is nothing to export: train it again"
        )
    share = float(trial.options.get("theta_share", 0.2)) if plan.architecture is None else 0.0
    part, _ = halves(data.train, share)
    points, files, costs = [], [], []
    for asked in spec.points:
        number, architecture = asked["point"], plan.layout.check(asked.get("architecture"))
        path = net.path(architecture).settled(part.x)
        model, weights = graph.model(path), graph.pack(path)
        [cost] = measure.time_models([model], np.zeros((1, *data.shape), np.float32))
        names = {f"model-{number}.onnx": model, f"weights-{number}.bin": weights}
        for name, content in names.items():
            write(trial.files / name, content)
        files += list(names)
        costs.append(cost)
        metrics = {**errors(model, data), "latency_ms": cost.p50_ms, "latency_p95_ms": cost.p95_ms}
        figures = plan.layout.figures(architecture)
        points.append({"point": number, "architecture": list(architecture),
                       "metrics": {**metrics, **figures, "bytes": float(len(weights))}})  # fmt: skip
    shown = [{**point, "latency_spread": cost.spread} for point, cost in zip(points, costs, strict=True)]
    texts = {"config.json": dict(trial.config), "card.json": _card(spec, data, plan, shown)}
    for name, value in texts.items():
        write(trial.files / name, as_json(value))
    first = costs[:1]
    return {
        "points": points, "files": [*files, *texts], "device": measure.device(),
        "cumulative_ms": [c.p50_ms for c in first], "p95_ms": [c.p95_ms for c in first],
    }  # fmt: skip


def errors(model: bytes, data: Data) -> dict[str, float]:
    """The model file's own answers on validation and test."""
    runtime = measure.session(model)
    val, test = (_error(runtime, part) for part in (data.val, data.test))
    return {"val_error": val, "test_error": test, "test_accuracy": 100.0 - test}


def _error(runtime: Any, part: Part) -> float:
    logits = np.asarray(runtime.run(None, {"x": part.x.numpy()})[0])
    return 100.0 * float((logits.argmax(1) != part.y.numpy()).mean())


def _card(spec: JobSpec, data: Data, plan: Plan, points: list[dict[str, Any]]) -> Mapping[str, Any]:
    """Enough to use the files without this program."""
    return {
        "study": spec.study, "trial": spec.trial, "step": spec.until, "seed": spec.seed,
        "data": {"name": data.name, "labels": list(data.labels)},
        "input": {
            "name": "x", "shape": ["N", *data.shape], "dtype": "float32", "normalise": "x = (raw - shift) * scale",
            "shift": data.shift.tolist(), "scale": data.scale.tolist(),
        },
        "output": {"name": "logits", "rule": "the class of the largest logit"},
        "weights": "float32; for each operator weight, then bias; stem, blocks in their order, head",
        "candidates": [list(layer.candidates) for layer in plan.layout.layers],
        "points": points,
    }  # fmt: skip
