"""Which bits have a kernel: the lines by arithmetic, the signature that tells widths apart, a study's runtime."""

from __future__ import annotations

from typing import Any

import pytest

from spaces.describe import describe, kernels
from spaces.errors import StudyError
from spaces.kernels import expected
from spaces.nets import NetSpec, network
from spaces.space import Space
from spaces.study import Study
from spaces.task import Task

SPEC: dict[str, Any] = {
    "study": "bits", "space": {"width": {"const": 8}, "bits": {"choice": [1, 4, 8]}},
    "objectives": {"val_error": "minimize", "latency_ms": "minimize"}, "task": {"classify": {"data": "iris"}},
}  # fmt: skip


def linear(**config: Any) -> NetSpec:
    return network({"width": 8, "depth": 2, **config}, (4,), 3)


def test_in_onnx_runtime() -> None:
    """Integers run at 8 bits where inputs are integers and a channel has one scale; fewer bits have no kernel of their
    own, other formats none at all; float32 has no line; layers of one kind share one."""
    assert expected(linear(bits=[3, 3]).layers, "onnxruntime") == (
        "3 bits, linear: runs at 8, no kernel of 3 bits in onnxruntime (blocks.0, blocks.1)",
        "8 bits, linear: runs at 8 (heads.1)",
    )
    assert expected(linear(bits=32).layers, "onnxruntime") == ()
    (line, *_) = expected(linear(bits=4, granularity="group", group=4).layers, "onnxruntime")
    assert line.startswith("4 bits, linear: computed as float32, no kernel for scales of groups in onnxruntime (")
    (line, *_) = expected(linear(bits=1, activation_bits=32).layers, "onnxruntime")
    assert line.startswith("1 bit, linear: computed as float32, no kernel for inputs that are no integers in onn")
    (line, *_) = expected(linear(bits=["fp8", 32]).layers, "onnxruntime")
    assert line == "fp8, linear: computed as float32, no kernel for it in onnxruntime (blocks.0)"


def test_in_torch() -> None:
    """Linear layers of integers by `lowbit_linear`, where the device has it; convolutions and formats never."""
    layers = network({"width": 4, "depth": 1, "bits": 4}, (1, 6, 6), 3).layers
    assert expected(layers, "torch") == (
        "4 bits, conv: computed as float32, no kernel of few bits for convolutions of floats (blocks.0)",
        "8 bits, linear: runs by lowbit_linear where the device has its kernel, else as float32, the measurement says"
        " which (heads.0)",
    )
    (line, *_) = expected(linear(bits="bf16").layers, "torch-cuda")
    assert line.startswith("16, linear: computed as float32") or line.startswith("16 bits, linear: computed as float32")


def test_a_task_says_them_of_a_config() -> None:
    """By its options and the config; a task without bits says none."""
    study = Study.parse(SPEC)
    found = kernels(study.task, study.space, {"width": 8, "bits": 1}, "onnxruntime")
    assert found[0].startswith("1 bit, linear: runs at 8, no kernel of 1 bit in onnxruntime")
    assert kernels(Task(kind="function", name="a:b"), Space(()), {}, "torch") == ()


def test_signatures_that_tell_bits_apart() -> None:
    """For kernels of few bits each width and each way to share scales is another figure for a linear layer, and none
    for a convolution; it is never the one of ONNX Runtime."""
    found = {linear(bits=b).signature(0, low_bit=True) for b in (1, 1.58, 2, 3, 4, 8, 32)}
    assert len(found) == 7
    assert len({linear(bits=b).signature(0) for b in (1, 1.58, 2, 3, 4, 8)}) == 1
    groups = {linear(bits=4, granularity="group", group=g).signature(0, low_bit=True) for g in (2, 4)}
    assert len(groups) == 2
    assert linear(bits=32).signature(0, low_bit=True) != linear(bits=32).signature(0)

    def image(bits: Any) -> str:
        return network({"width": 4, "depth": 2, "bits": bits}, (1, 6, 6), 3).signature(0, low_bit=True)

    assert image([1, 4]) == image([8, 3])
    assert image([8, 8]) != image([8, 32])


def test_description_has_both() -> None:
    """A study chooses by what measures it."""
    study = Study.parse(SPEC)
    a, b = (describe(study.task, study.space, {"width": 8, "bits": bits}) for bits in (1, 4))
    assert a is not None
    assert b is not None
    assert a.signature == b.signature
    assert len({a.low_bit, b.low_bit, a.signature}) == 3


def test_the_runtime_of_a_study() -> None:
    """It is kept by a dump; kernels of few bits come with torch, but not with a profile or allocations."""
    for runtime, low in (("", False), ("onnxruntime", False), ("torch", True), ("torch-cuda", True)):
        study = Study.parse({**SPEC, **({"runtime": runtime} if runtime else {})})
        assert (study.runtime, study.low_bit) == (runtime, low)
        assert Study.parse(study.dump()) == study
        assert ("runtime" in study.dump()) == bool(runtime)
    assert not Study.parse({**SPEC, "runtime": "torch", "latency": "predicted"}).low_bit
    allocates = {"classify": {"data": "iris", "allocate": {"bits": [4, 8]}}}
    assert not Study.parse({**SPEC, "runtime": "torch", "task": allocates}).low_bit


@pytest.mark.parametrize(("more", "said"), [
    ({"runtime": "tensorrt"}, "known: onnxruntime, torch, torch-cuda"),
    ({"runtime": "torch", "task": "a.b:train", "objectives": {"loss": "minimize"}}, "nothing of task function"),
    ({"runtime": "torch", "task": {"supernet": {}}, "space": {"width": {"const": 4}}},
     "the networks of task supernet are timed by onnxruntime, not by torch"),
])  # fmt: skip
def test_a_runtime_that_cannot_be(more: dict[str, Any], said: str) -> None:
    """An unknown one, and one that does not time the task's networks."""
    with pytest.raises(StudyError, match=said):
        Study.parse({**SPEC, **more})
