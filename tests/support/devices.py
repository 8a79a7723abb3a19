"""Devices that nobody has: profiles of made-up machines whose latency is known to the last digit."""

from __future__ import annotations

from typing import Any

import numpy as np

from searchd.devices import asked, profile_of
from searchd.store.base import DeviceRow
from searchd.wire import WorkerInfo
from spaces.rules import size
from spaces.study import Study

FACTS = {
    "runtime": "onnxruntime 1.32", "driver": "kernel 6", "clocks": "locked", "threads": "1",
    "onnxruntime": "onnxruntime 1.32", "torch": "torch 2.13", "torch-cuda": "torch-cuda 2.13",
}  # fmt: skip
IDENTITY = "cpu · made up · onnxruntime 1.32 · 1 thread"
WORKER = WorkerInfo(name="w-0", device_class="cpu", device=IDENTITY, host="here", pid=1, facts=FACTS)

NET: dict[str, Any] = {
    "study": "net",
    "space": {"width": {"int": [8, 16]}, "depth": {"const": 2}, "exits": {"const": [0]}},
    "objectives": {"val_error": "minimize", "latency_ms": "minimize", "bytes": "minimize"},
    "search": {"scheduler": "asha", "searcher": "random", "r": 1, "R": 3, "eta": 3},
    "budget": {"trials": 5},
    "task": "classify",
}


def alone_ms(key: str) -> float:
    """What the made-up machine takes for one operator."""
    work, moved = size(key)
    return 0.001 + 0.5 * work + 2.0 * moved


def whole_ms(counts: dict[str, float], scale: float = 1.2, once: float = 0.004) -> float:
    """What it takes for a network: a table sum, corrected."""
    return scale * sum(n * alone_ms(key) for key, n in counts.items()) + once


def result_of(request: dict[str, Any], noise: float = 0.0, seed: int = 0) -> dict[str, Any]:
    """What a worker on the made-up machine answers to a profile job."""
    from spaces.operators import Operator

    rng = np.random.default_rng(seed)

    def off(ms: float) -> float:
        return float(ms * np.exp(noise * rng.normal()))

    keys = [Operator(**fields).key for fields in request["operators"]]
    times = [[off(whole_ms(a["counts"])), off(whole_ms(a["counts"]))] for a in request["architectures"]]
    return {
        "rows": {key: [off(alone_ms(key)), 1e-9] for key in keys}, "empty_ms": 0.002, "architectures": times,
        "spread": noise, "row_spread": noise, "peak_memory_bytes": 1 << 20, "runtime": "onnxruntime",
    }  # fmt: skip


def device_row(study: Study, name: str = "cpu", architectures: int = 30, at: float = 5.0) -> DeviceRow:
    """A device that was profiled for a study."""
    request = asked(study, architectures)
    profile = profile_of(study.name, study.task.kind, request, result_of(request), FACTS, alone=True, at=at)
    facts = {k: FACTS[k] for k in ("runtime", "driver", "clocks", "threads")}
    return DeviceRow(name, IDENTITY, "onnxruntime", facts, profile, {"status": "done"}, 1.0)
