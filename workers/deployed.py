"""An exported model on this machine: are its files whole, what do they compute, and how fast.

It is read from its folder alone: the card says the task, the points and which files belong to it. Errors come from the
model file over the task's data, as when it was exported, and have to be equal; latencies are taken anew, as then.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from searchd.errors import NotFound, Refused, SearchdError
from spaces.transformers import transformer
from workers import data as datasets
from workers import measure, texts
from workers.dnas import export as dnas
from workers.export import verify as classified
from workers.measure import Latency, Measured
from workers.prefixes import exits_of, upto_exit, upto_layer
from workers.reproduction import digest, ending, is_card
from workers.supernet.export import left
from workers.tasks import lm_export
from workers.tasks.exits import expected_cost

Points = list[dict[str, Any]]


class Corrupt(SearchdError):
    """Files that are not what was exported."""


@dataclass(frozen=True, slots=True)
class Export:
    """One card and its files. `options`: those of the task; `ending`: what the names of its files have behind them."""

    folder: Path
    name: str
    card: Mapping[str, Any]
    kind: str
    options: dict[str, Any]

    @property
    def ending(self) -> str:
        return ending(self.name)

    @property
    def points(self) -> Points:
        """The points as they were recorded; a card of one sub-network is itself its point."""
        own = self.card.get("points")
        return [dict(self.card)] if own is None else [dict(p) for p in own]

    def file(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def config(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.file(f"config{self.ending}.json"))
        return found


def exports(folder: Path) -> list[Export]:
    """Every export in a folder and below it. NotFound when there is none; Corrupt for a card that cannot be read."""
    if not folder.is_dir():
        raise NotFound(f"there is no folder {folder}: `searchd export STUDY N --to DIR` makes one")
    cards = sorted(p for p in folder.rglob("card*.json") if is_card(p.name))
    if not cards:
        raise NotFound(f"{folder}/ holds no card.json: give the folder of an export (`searchd export STUDY N --to D`)")
    return [_export(path) for path in cards]


def _export(path: Path) -> Export:
    try:
        card = json.loads(path.read_bytes())
    except ValueError as error:
        raise Corrupt(f"{path} is not the card that was written ({error}): copy the export again") from None
    task = card.get("task") if isinstance(card, dict) else None
    if not isinstance(task, dict) or not task:
        raise Corrupt(f"{path} does not say its task: it was written by an earlier searchd; export the trial again")
    kind = next((k for k in task if k in (*TASKS, "function", "command")), str(next(iter(task))))
    if kind not in TASKS:
        said = f"{path} is the card of a {kind if kind in ('function', 'command') else repr(kind)}"
        raise Refused(f"{said}, which has no model that could be measured: run its reproduce.yaml (`searchd run`)")
    if not isinstance(card.get("files"), dict):
        raise Corrupt(f"{path} lists no files: it was written by an earlier searchd; export the trial again")
    return Export(path.parent, path.name, card, kind, dict(task[kind]))


def check_files(export: Export) -> int:
    """How many files of the export are there and have the SHA-256 of then. Corrupt names the first that has not."""
    for name, said in export.card["files"].items():
        path = export.folder / name
        if not path.is_file():
            raise Corrupt(f"{path} is missing, which {export.name} lists: copy the whole export again")
        if (now := digest(path)) != said:
            how = f"{now['bytes']} bytes, {said['bytes']} were written" if now["bytes"] != said["bytes"] else "its "\
                "SHA-256 is another one"
            raise Corrupt(f"{path} is not the file that was exported ({how}): copy the export again")
    return len(export.card["files"])


def runtime(export: Export) -> str:
    """What timed the model when it was exported."""
    return str(export.card.get("runtime") or "onnxruntime")


def timed_on(export: Export) -> str:
    """The device of the recorded latencies."""
    card = export.card
    return str((card.get("latency") or {}).get("device") or card.get("device") or card["libraries"].get("device") or "")


Again = tuple[Callable[[], Sequence[Sequence[Latency]]], Callable[[Sequence[Sequence[Latency]]], Points]]
"""(times the models once, by point or for all; the points' metrics with such figures)."""


def classify(export: Export) -> Again:
    data = datasets.load(export.options)
    model, size = export.file(f"model{export.ending}.onnx"), len(export.file(f"weights{export.ending}.bin"))
    prefixes = [upto_exit(model, k) for k in range(exits_of(model))]
    x = _sample(data.shape)
    return (
        lambda: [measure.time_models(prefixes, x)],
        lambda found: classified(model, data, export.points, Measured(tuple(found[0]), {}), size),
    )


def lm(export: Export) -> Again:
    context = int(export.card["input"]["x"][1])
    text = texts.load(str(export.options["text"]), context)
    spec = transformer(export.config(), context)
    model, token = export.file("model.onnx"), export.file("token.onnx")
    prefixes = [upto_layer(token, k + 1) for k in range(spec.depth)]
    net: Any = SimpleNamespace(spec=spec)

    def verify(found: Sequence[Sequence[Latency]]) -> Points:
        timed = {"cumulative_ms": [e.p50_ms for e in found[0]], "p95_ms": [e.p95_ms for e in found[0]]}
        size = len(export.file("weights.bin"))
        return lm_export.verify(model, net, text, tuple(export.points), timed, size)

    return lambda: [measure.time_models(prefixes, np.array([1], np.int64))], verify


def supernet(export: Export) -> Again:
    data, model = datasets.load(export.options), export.file("model.onnx")
    exits, point, x = exits_of(model), export.points[0], _sample(data.shape)
    _, on_val, on_test = left(point, model, data, exits)
    prefixes = [upto_exit(model, k) for k in range(exits)] if exits > 1 else [model]
    exact = _errors(on_val.error, on_test.error) | {"bytes": float(len(export.file("weights.bin")))}

    def verify(found: Sequence[Sequence[Latency]]) -> Points:
        p50, p95 = ([getattr(one, name) for one in found[0]] for name in ("p50_ms", "p95_ms"))
        timed = {"latency_ms": expected_cost(on_val.rates, p50), "latency_p95_ms": expected_cost(on_val.rates, p95)}
        return [{"point": point["point"], "metrics": exact | timed}]

    return lambda: [measure.time_models(prefixes, x)], verify


def dnas_(export: Export) -> Again:
    data = datasets.load(export.options)
    models = [export.file(f"model-{p['point']}.onnx") for p in export.points]
    sizes = [float(len(export.file(f"weights-{p['point']}.bin"))) for p in export.points]
    exact = [dnas.errors(m, data) | {"bytes": size} for m, size in zip(models, sizes, strict=True)]
    return _alone(export, models, exact, data.shape)


TASKS: Mapping[str, Callable[[Export], Again]] = {
    "classify": classify, "lm": lm, "supernet": supernet, "dnas": dnas_,
}  # fmt: skip


def _alone(
    export: Export, models: Sequence[bytes], exact: Sequence[Mapping[str, float]], shape: Sequence[int]
) -> Again:  # fmt: skip
    """Points that are a model each, timed one by one: none is a part of another."""
    x = _sample(shape)

    def verify(found: Sequence[Sequence[Latency]]) -> Points:
        pairs = zip(export.points, exact, found, strict=True)
        return [
            {"point": p["point"], "metrics": {**e, "latency_ms": f[0].p50_ms, "latency_p95_ms": f[0].p95_ms}}
            for p, e, f in pairs
        ]

    return lambda: [measure.time_models([model], x) for model in models], verify


def _errors(val: float, test: float) -> dict[str, float]:
    return {"val_error": val, "test_error": test, "test_accuracy": 100.0 - test}


def _sample(shape: Sequence[int]) -> Any:
    return np.random.default_rng(0).random((1, *shape), dtype=np.float32)
