"""A profile job on a real worker's code, and the models that it times."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from searchd.devices import asked, profile_of
from searchd.errors import Missing, NotFound, Refused
from searchd.wire import JobSpec
from spaces.nets import network
from spaces.operators import Operator
from spaces.study import Study
from workers.facts import KEYS, facts, named
from workers.measure import as_float, measure, session, untrained
from workers.measurers import measurer
from workers.nets.alone import onnx_of, sample, shape_out
from workers.nets.eager import EagerNet
from workers.nets.graph import build
from workers.tasks import resolve

STUDY = Study.parse({
    "study": "small",
    "space": {"width": {"choice": [4, 8]}, "bits": {"choice": [8, 32]}, "exits": {"subset": [0], "min": 0}},
    "objectives": {"val_error": "minimize", "latency_ms": "minimize"},
})  # fmt: skip
TASK = {"kind": "classify", "name": "classify", "options": {}}


def job(**more: object) -> JobSpec:
    return JobSpec(id="j", study="device:cpu", trial=0, attempt=1, kind="measure", config={}, task=TASK, artifacts=".",
                   **more)  # type: ignore[arg-type]  # fmt: skip


def test_a_profile_job() -> None:
    """Every operator that was asked for has a row, every network its repeats; the daemon makes a profile of it."""
    request = asked(STUDY, 6)
    found = dict(resolve(TASK).profiled(job(profile=request, nested={})))
    assert set(found["rows"]) == {Operator(**o).key for o in request["operators"]}
    assert all(ms >= 0 and variance >= 0 for ms, variance in found["rows"].values())
    assert [len(times) for times in found["architectures"]] == [2] * len(request["architectures"])
    assert found["peak_memory_bytes"] > 1 << 20
    profile = profile_of("small", "classify", request, found, {}, alone=True, at=1.0)
    assert profile["quality"]["measured"] == len(request["architectures"])


def test_too_much_at_once_is_refused() -> None:
    """A profile that nobody would wait for is refused with the limits."""
    request = {**asked(STUDY, 2), "architectures": [{"nested": {}, "exit": 0}] * 101}
    with pytest.raises(Refused, match="at most 2000 and 100"):
        resolve(TASK).profiled(job(profile=request))


def test_a_task_without_operators_is_refused() -> None:
    """Only a task that says its operators can be profiled."""
    from workers.tasks import Runner

    with pytest.raises(Refused, match="no operators"):
        Runner("mine", print).profiled(job(profile={}))


def test_torch_computes_what_was_folded() -> None:
    """The float32 module answers what the exported float network answers, at every exit."""
    net = as_float(untrained(network({"width": 4, "depth": 3, "exits": [0], "bits": [8, 32, 32]}, (1, 9, 9), 5)))
    x = np.random.default_rng(1).random((3, 1, 9, 9), dtype=np.float32)
    wanted = session(build(net)).run(None, {"x": x})
    found = EagerNet(net)(torch.from_numpy(x))
    assert len(found) == len(wanted) == 2
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a.numpy(), b, rtol=1e-4, atol=1e-4)
    assert len(EagerNet(net, 0)(torch.from_numpy(x))) == 1


@pytest.mark.parametrize("operator", [
    Operator("conv", 3, 8, 3, 1, 1, 7, 5, 8), Operator("conv", 4, 4, 5, 2, 4, 7, 7, 32),
    Operator("pool", 4, 4, 3, 2, 1, 7, 7, 8), Operator("pool", 4, 4, 2, 1, 1, 7, 5, 32),
    Operator("linear", 12, 10, 1, 1, 1, 1, 1, 8), Operator("resize", 2, 2, 8, 1, 1, 4, 4, 32),
    Operator("resize", 2, 2, 4, 1, 1, 4, 4, 8), Operator("add", 2, 2, 1, 1, 1, 4, 4, 8),
    Operator("embed", 97, 8, 1, 1, 1, 16, 1, 32), Operator("norm", 8, 8, 1, 1, 1, 1, 1, 32),
    Operator("attention", 8, 8, 1, 1, 2, 16, 1, 32), Operator("resize", 2, 2, 3, 1, 1, 7, 5, 32),
], ids=lambda o: o.key)  # fmt: skip
def test_an_operator_alone_has_the_shape_that_it_says(operator: Operator) -> None:
    """What comes out of the timed model is the map that the arithmetic says; 8 bits stay 8 bits."""
    (found,) = session(onnx_of(operator)).run(None, {"x": sample(operator)})
    assert list(found.shape) == shape_out(operator)
    assert found.dtype == (np.uint8 if operator.bits == 8 else np.float32)


def test_a_measure_job_by_torch() -> None:
    """A device that is registered with torch is measured by it: float32 kernels, its own name, latencies rising."""
    nested = {"width": 4, "depth": 2, "exits": [0], "bits": 8}
    found = measure(job(nested=nested, signature="s", runtime="torch"))
    assert found["kernel_bits"] == [32, 32]
    assert "float32_ms" not in found
    first, last = found["cumulative_ms"]
    assert 0 < first <= last
    assert named("cpu · x · onnxruntime 1 · 1 thread", "torch").split(" · ")[2].startswith("torch ")
    assert named("cpu · x · onnxruntime 1 · 1 thread", "") == "cpu · x · onnxruntime 1 · 1 thread"


def test_facts_of_this_machine() -> None:
    """A worker says what its figures hold for, all of it, as text."""
    from workers.device import device

    found = facts(device("cpu"))
    assert set(KEYS) < set(found)
    assert all(found.values())
    assert found["runtime"].startswith("onnxruntime ")


def test_a_runtime_that_is_not_there() -> None:
    """An unknown runtime says which there are; CUDA without an accelerator says what it needs."""
    with pytest.raises(NotFound, match="onnxruntime, torch, torch-cuda"):
        measurer("tensorflow")
    if not torch.cuda.is_available():
        with pytest.raises(Missing, match="accelerator"):
            measurer("torch-cuda")
