"""A trained language model as files, and its numbers taken again from those files.

`trials/<n>/` gets `model.onnx` (whole sequences, with the layers that run as an input), `token.onnx` (one decoded
character through all layers, as it was timed), `weights.bin` (float32, little endian, the tensors in the order and of
the shapes that the card lists), `config.json` and `card.json`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from searchd.wire import JobSpec
from spaces.builtin.lm import CONTEXT
from spaces.transformers import transformer
from workers import measure, texts
from workers.export import ExportError, as_json, write
from workers.nets.transformer import LanguageModel
from workers.nets.transformer_graph import sequence, token
from workers.tasks.exits import expected_cost
from workers.tasks.skips import mask_of, rates
from workers.trial import Trial

WINDOWS = 64
"""Windows of a part that a loss is taken on."""


def export(trial: Trial, spec: JobSpec) -> dict[str, Any]:
    """Write the files of a trial and answer its points' verified metrics, from `model.onnx` and the timed prefixes."""
    context = int(trial.options.get("context", CONTEXT))
    text = texts.load(str(trial.options["text"]), context)
    net = LanguageModel(transformer(trial.config, context), trial.seed)
    if not trial.load(model=net):
        raise ExportError(
            f"trial {spec.trial} has no checkpoint that can be read, so there is nothing to export: train it again"
        )
    net.eval()
    model = sequence(net)
    state = {name: value.detach().numpy().astype("<f4") for name, value in net.state_dict().items()}
    weights = b"".join(value.tobytes() for value in state.values())
    timed = latency(net)
    points = verify(model, net, text, spec.points, timed, len(weights))
    card = {
        "study": spec.study, "trial": spec.trial, "step": spec.until, "seed": spec.seed,
        "text": {"name": text.name, "characters": [len(text.train), len(text.val), len(text.test)]},
        "input": {"x": ["N", context], "active": [net.spec.depth, context]},
        "symbols": "newline, the printable ASCII characters in order, one for all others",
        "skip": "active[l, t] = 1 where layer l runs at position t; where it does not, its input goes on as it is",
        "tensors": {name: list(value.shape) for name, value in state.items()},
        "latency": timed, "points": points,
    }  # fmt: skip
    contents = {
        "model.onnx": model, "token.onnx": token(net, list(range(net.spec.depth))), "weights.bin": weights,
        "config.json": as_json(dict(trial.config)), "card.json": as_json(card),
    }  # fmt: skip
    for name, content in contents.items():
        write(trial.files / name, content)
    return {"points": points, "files": list(contents), **timed}


def verify(
    model: bytes, net: LanguageModel, text: texts.Text, points: tuple[Mapping[str, Any], ...],
    timed: Mapping[str, Any], size: int,
) -> list[dict[str, Any]]:  # fmt: skip
    """The metrics of each operating point from the exported model's own answers."""
    runtime = measure.session(model)
    verified = []
    for point in points:
        if not isinstance(point.get("skip"), Mapping):
            raise ExportError(f"point {point.get('point')} has no skip schedule: verify points that the task reported")
        mask = mask_of(point["skip"], net.spec)
        share = rates(mask)
        val, test = (_answer(runtime, part, mask, net.spec.context) for part in (text.val, text.test))
        metrics = {
            "val_loss": val[0], "val_error": val[1], "test_loss": test[0], "test_error": test[1],
            "latency_ms": expected_cost(share, timed["cumulative_ms"]),
            "latency_p95_ms": expected_cost(share, timed["p95_ms"]),
            "bytes": float(size), "macs": net.spec.macs(float(mask.sum() / net.spec.context)),
        }  # fmt: skip
        verified.append({"point": point["point"], "skip": dict(point["skip"]), "metrics": metrics})
    return verified


def _answer(runtime: Any, part: Tensor, mask: Tensor, context: int) -> tuple[float, float]:
    x, y = texts.even(part, WINDOWS, context)
    logits = torch.from_numpy(runtime.run(None, {"x": x.numpy(), "active": mask.numpy()})[0])
    return scores(logits, y)


def scores(logits: Tensor, y: Tensor) -> tuple[float, float]:
    """(loss in nats, error in %) of logits [N, T, symbols]; NaN once they are not finite."""
    if not bool(torch.isfinite(logits).all()):
        return math.nan, math.nan
    loss = float(functional.cross_entropy(logits.flatten(0, 1), y.flatten()))
    return loss, 100.0 * float((logits.argmax(-1) != y).float().mean())


@torch.no_grad()
def judge(net: LanguageModel, part: Tensor, mask: Tensor | None) -> tuple[float, float]:
    """(loss in nats, error in %) over even windows of a part."""
    net.eval()
    x, y = texts.even(part, WINDOWS, net.spec.context)
    return scores(net(x, mask), y)


def latency(net: LanguageModel) -> dict[str, Any]:
    """`cumulative_ms` and `p95_ms` by number of layers, and the device."""
    models = [token(net, list(range(k + 1))) for k in range(net.spec.depth)]
    found = measure.time_models(models, np.array([1], np.int64))
    return {
        "cumulative_ms": [one.p50_ms for one in found], "p95_ms": [one.p95_ms for one in found],
        "spread": [one.spread for one in found], "device": measure.device(),
    }  # fmt: skip
