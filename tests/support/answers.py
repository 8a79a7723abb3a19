"""Answers of a client, written by hand in the exact shapes of `searchd.views`: small, for frames and charts."""

from __future__ import annotations

from typing import Any

SUMMARY: dict[str, Any] = {
    "id": "digits-0001", "name": "digits", "status": "running", "reason": "", "created": 1_700_000_000.0,
    "seconds": 83.0,
    "trials": {"waiting": 0, "running": 2, "paused": 3, "done": 1, "stopped": 0, "failed": 1, "vetoed": 0, "total": 7},
    "steps_done": 41, "reports": 41, "duplicates": 0, "front": 3, "hypervolume": 0.71, "reference": [90.0, 2.0, 40e3],
    "busy_fraction": 0.93, "resumed": {"total": 9, "warm": 7},
    "best": {"val_error": 2.1, "latency_ms": 0.021, "bytes": 1840},
    "objectives": [
        {"name": "val_error", "goal": "minimize", "at_most": None, "at_least": None},
        {"name": "latency_ms", "goal": "minimize", "at_most": 1.0, "at_least": None},
        {"name": "bytes", "goal": "minimize", "at_most": None, "at_least": None},
    ],
    "budget": {"trials": 12, "hours": None, "steps": None, "parallel": 2},
    "scheduler": "async-hyperband", "searcher": "tpe", "unit": "epoch", "ladders": [[1, 3, 9]],
    "jobs": {"queued": 0, "running": 2}, "time_left_s": 60.0, "artifacts": "out/digits",
}  # fmt: skip

CONFIG: dict[str, Any] = {
    "width": 16, "depth": 2, "optimizer": "sgd", "optimizer.sgd.lr": 0.1, "optimizer.sgd.momentum": 0.9,
    "bits.0": 4, "bits.1": 8, "exits": [0],
}  # fmt: skip
OTHER: dict[str, Any] = {
    "width": 24, "depth": 1, "optimizer": "adamw", "optimizer.adamw.lr": 0.002, "bits.0": 32, "exits": [],
}  # fmt: skip


def front_point(trial: int, point: int, error: float, latency: float, size: int, **more: Any) -> dict[str, Any]:
    metrics = {"val_error": error, "latency_ms": latency, "bytes": size, "exit_rates": [0.4, 0.6], **more}
    return {"trial": trial, "point": point, "step": 9, "config": CONFIG, "metrics": metrics}


FRONT = [
    front_point(3, 0, 2.1, 0.06, 5200),
    front_point(3, 4, 3.0, 0.04, 5200),
    front_point(1, 0, 7.5, 0.021, 1840, threshold=0.5),
]

TRIALS: list[dict[str, Any]] = [
    {"trial": 0, "status": "paused", "config": OTHER, "step": 1, "bracket": 0, "seconds": 0.5, "reason": "waits",
     "error": "", "metrics": {"val_error": 40.0, "latency_ms": 0.05, "bytes": 9000}},
    {"trial": 1, "status": "done", "config": CONFIG, "step": 9, "bracket": 0, "seconds": 4.5, "reason": "", "error": "",
     "metrics": {"val_error": 7.5, "latency_ms": 0.021, "bytes": 1840}},
    {"trial": 2, "status": "failed", "config": OTHER, "step": 2, "bracket": 0, "seconds": 1.0, "reason": "oom",
     "error": "Traceback …\nMemoryError: <1.2 GB>", "metrics": {"val_error": None}},
    {"trial": 3, "status": "running", "config": CONFIG, "step": 9, "bracket": 0, "seconds": 4.5, "reason": "",
     "error": "", "metrics": {"val_error": 2.1, "latency_ms": 0.06, "bytes": 5200}},
    {"trial": 4, "status": "running", "config": OTHER, "step": 0, "bracket": 0, "seconds": 0.0, "reason": "",
     "error": "", "metrics": {}},
]  # fmt: skip

CURVES = [
    {"trial": 3, "step": 3, "value": 9.0}, {"trial": 3, "step": 1, "value": 30.0},
    {"trial": 3, "step": 9, "value": 2.1},
    {"trial": 1, "step": 1, "value": 20.0}, {"trial": 1, "step": 3, "value": 9.0},
    {"trial": 1, "step": 9, "value": 7.5},
    {"trial": 0, "step": 1, "value": 40.0}, {"trial": 2, "step": 1, "value": None},
]  # fmt: skip

RUNGS = [
    {"bracket": 0, "step": 1, "trials": [
        {"trial": 0, "value": 40.0, "state": "paused"}, {"trial": 1, "value": 20.0, "state": "promoted"},
        {"trial": 2, "value": None, "state": "failed"}, {"trial": 3, "value": 30.0, "state": "promoted"}]},
    {"bracket": 0, "step": 3, "trials": [
        {"trial": 1, "value": 9.0, "state": "promoted"}, {"trial": 3, "value": 9.0, "state": "promoted"}]},
    {"bracket": 0, "step": 9, "trials": [
        {"trial": 1, "value": 7.5, "state": "done"}, {"trial": 3, "value": 2.1, "state": "running"}]},
]  # fmt: skip

LOG = [
    {"seq": 1, "at": 1_700_000_000.0, "kind": "submitted", "trial": None, "text": "study submitted", "payload": {}},
    {"seq": 2, "at": 1_700_000_001.5, "kind": "asked", "trial": 0, "text": "trial 0 starts", "payload": {}},
    {"seq": 3, "at": 1_700_000_003.0, "kind": "asked", "trial": 1,
     "text": "trial 1 promoted to 3: rank 1 of 3 at rung 1", "payload": {}},
]  # fmt: skip
