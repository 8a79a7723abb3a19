"""What times a model of batch 1 on this device, behind one protocol: ONNX Runtime and torch on the CPU, torch on CUDA.

A measurer turns a folded network, or one operator alone, into a call without arguments (`Run`: inputs and outputs are
bound, everything is warm), and times such calls. What is done with the times (rounds, turns, minima) is the same for
all of them: `workers.rounds`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from searchd.errors import Missing, NotFound, Refused
from spaces.operators import Operator
from workers.nets import alone
from workers.nets.eager import EagerNet
from workers.nets.fold import FoldedNet
from workers.nets.graph import build

Run = Callable[[], object]
LEAST_RUNS = 15
"""Runs in a round: as many as fit its time, but at least these, or percentiles mean nothing."""


class Measurer(Protocol):
    """`name`: the runtime, as a device is registered with it."""

    @property
    def name(self) -> str: ...

    def network(self, net: FoldedNet, last_exit: int | None = None) -> Run:
        """One sample through the network up to an exit (None: the last one)."""
        ...

    def operator(self, operator: Operator) -> Run:
        """One sample through one operator alone."""
        ...

    def empty(self) -> Run:
        """What a call costs that computes nothing."""
        ...

    def times(self, run: Run, seconds: float) -> NDArray[np.float64]:
        """Milliseconds of single runs, one after the other, for about `seconds`."""
        ...

    def peak_memory_bytes(self) -> int:
        """The most memory that was in use so far: of the process, or of the accelerator."""
        ...


class OnnxCpu:
    """ONNX Runtime on one thread of the CPU: integer kernels where the network has them, as deployed."""

    name = "onnxruntime"

    def network(self, net: FoldedNet, last_exit: int | None = None) -> Run:
        x = np.random.default_rng(0).random((1, *net.spec.input_shape), dtype=np.float32)
        return self.model(build(net, last_exit), x)

    def operator(self, operator: Operator) -> Run:
        return self.model(alone.onnx_of(operator), alone.sample(operator))

    def empty(self) -> Run:
        return self.model(alone.empty(), np.zeros((1, 1), np.float32))

    def model(self, model: bytes, x: NDArray[Any]) -> Run:
        """Any ONNX model with one input `x` [1, …]."""
        from workers.measure import bound, session

        run: Run = bound(session(model), x)
        return run

    def times(self, run: Run, seconds: float) -> NDArray[np.float64]:
        return clocked(run, seconds)

    def peak_memory_bytes(self) -> int:
        return process_peak_bytes()


@dataclass(frozen=True, slots=True)
class TorchCpu:
    """torch on one thread of the CPU, eager: float32, and with `low_bit` kernels of few bits where they are."""

    low_bit: bool = False
    name: ClassVar[str] = "torch"
    device: ClassVar[torch.device] = torch.device("cpu")

    def network(self, net: FoldedNet, last_exit: int | None = None) -> Run:
        module = EagerNet(net, last_exit, self.device if self.low_bit else None)
        return self._bound(module, torch.rand(1, *net.spec.input_shape))

    def operator(self, operator: Operator) -> Run:
        x = torch.rand(alone.shape_in(operator))
        return self._bound(alone.TorchOperator(operator), x)

    def empty(self) -> Run:
        return self._bound(torch.nn.Identity(), torch.zeros(1, 1))

    def _bound(self, module: torch.nn.Module, x: torch.Tensor) -> Run:
        torch.set_num_threads(1)
        module = module.eval()

        def run() -> object:
            with torch.inference_mode():
                return module(x)

        return run

    def times(self, run: Run, seconds: float) -> NDArray[np.float64]:
        return clocked(run, seconds)

    def peak_memory_bytes(self) -> int:
        return process_peak_bytes()


@dataclass(frozen=True, slots=True)
class TorchCuda:
    """torch on an accelerator: the kernels of one sample as a CUDA graph where it can be captured, timed by events;
    float32, and with `low_bit` kernels of few bits where they are."""

    low_bit: bool = False
    name: ClassVar[str] = "torch-cuda"
    device: ClassVar[torch.device] = torch.device("cuda")

    def network(self, net: FoldedNet, last_exit: int | None = None) -> Run:
        module = EagerNet(net, last_exit, self.device if self.low_bit else None)
        return self._bound(module, torch.rand(1, *net.spec.input_shape))

    def operator(self, operator: Operator) -> Run:
        return self._bound(alone.TorchOperator(operator), torch.rand(alone.shape_in(operator)))

    def empty(self) -> Run:
        return self._bound(torch.nn.Identity(), torch.zeros(1, 1))

    def _bound(self, module: torch.nn.Module, x: torch.Tensor) -> Run:
        placed, at = module.eval().to("cuda"), x.to("cuda")

        def run() -> object:
            with torch.inference_mode():
                return placed(at)

        beside: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):  # warm: a capture must not allocate or choose algorithms
            for _ in range(3):
                run()
        torch.cuda.current_stream().wait_stream(beside)
        try:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                run()
        except RuntimeError:  # something in it cannot be captured: it is timed kernel by kernel
            return run
        return graph.replay

    def times(self, run: Run, seconds: float) -> NDArray[np.float64]:
        out: list[float] = []
        end = time.perf_counter() + seconds
        while len(out) < LEAST_RUNS or time.perf_counter() < end:
            first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
            first.record()
            run()
            last.record()
            last.synchronize()
            out.append(first.elapsed_time(last))
        return np.array(out)

    def peak_memory_bytes(self) -> int:
        return int(torch.cuda.max_memory_allocated())


MEASURERS: Mapping[str, type[OnnxCpu] | type[TorchCpu] | type[TorchCuda]] = {
    m.name: m for m in (OnnxCpu, TorchCpu, TorchCuda)
}


def measurer(name: str, low_bit: bool = False) -> Measurer:
    """The measurer of a runtime; `low_bit`: torch takes kernels of few bits where the device has them. NotFound for one
    that there is not, Missing where this machine cannot."""
    if name not in MEASURERS:
        raise NotFound(f"no runtime {name!r}: a worker measures by {', '.join(MEASURERS)}")
    if name == TorchCuda.name and not torch.cuda.is_available():
        raise Missing("torch-cuda needs an accelerator, and torch sees none here: a CUDA build of torch, a driver, or "
                      "register the device with --runtime torch")  # fmt: skip
    if name == OnnxCpu.name:
        return OnnxCpu()
    return TorchCpu(low_bit) if name == TorchCpu.name else TorchCuda(low_bit)


def onnx_run(by: Measurer, model: bytes, x: NDArray[Any]) -> Run:
    """An ONNX model with one input `x`, ready to be timed. Refused for another runtime."""
    if not isinstance(by, OnnxCpu):
        raise Refused(f"these networks are timed by {OnnxCpu.name}, not by {by.name}: register the device with "
                      f"--runtime {OnnxCpu.name}")  # fmt: skip
    return by.model(model, x)


def clocked(run: Run, seconds: float) -> NDArray[np.float64]:
    """Milliseconds of single calls by the process's clock."""
    out: list[int] = []
    clock = time.perf_counter_ns
    began = clock()
    while True:
        start = clock()
        run()
        end = clock()
        out.append(end - start)
        if end - began > seconds * 1e9 and len(out) >= LEAST_RUNS:
            return np.array(out) / 1e6


def process_peak_bytes() -> int:
    """The high-water mark of this process's resident memory."""
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
