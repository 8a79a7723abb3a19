"""Latency of a network on this machine, up to each of its exits, as a deployed model has it: ONNX Runtime, batch 1.

Prefixes are cumulative and whole sessions of their own, not differences of segments (an empty session alone costs
microseconds). One thread, input and output bound beforehand, warmed up. Every prefix gets many short rounds, the
prefixes taking turns; a figure is the best round's, since what else runs on the machine can only add time, and comes in
bursts: with forty rounds of 3 ms the worst figures were half as far off as with five of 12 (docs/log.md).
"""

from __future__ import annotations

import platform
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray

from searchd.wire import JobSpec
from spaces.data import NAMED, DataShape, data_shape
from spaces.kernels import FLOAT, PRECISE, gathered, in_onnx
from spaces.nets import NetSpec, network
from workers import pace
from workers.energy import Meter, Spent, meter
from workers.measurers import LEAST_RUNS, Measurer, OnnxCpu, Run, TorchCpu, TorchCuda, measurer
from workers.nets.eager import entering, ran
from workers.nets.eager import kernel_bits as eager_bits
from workers.nets.fold import Folded, FoldedNet, fold
from workers.nets.graph import build
from workers.nets.modules import Net

ROUNDS, FEWEST = 40, 5
"""Rounds of a model: the most, and those that a slow one gets at least."""
ROUND_S = 0.003
TOTAL_S = ROUNDS * ROUND_S
"""What a model's rounds take together, unless the fewest take longer."""
WARM_S = 0.01
ON_CPU = frozenset({OnnxCpu.name, TorchCpu.name})
"""Where the yardstick of `workers.pace` runs too."""
ENERGY_S = 0.5
"""Counters of accelerators are read out every 0.1 s or so."""
INTEGER_KERNELS = frozenset({"QLinearConv", "QGemm"})
LAYER = re.compile(r"(blocks|heads)\.\d+(\.hidden)?")
FLOAT_KERNELS = frozenset({"Conv", "FusedConv", "Gemm", "FusedGemm"})


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds of one sample: the median and the 95th percentile. `spread`: by what share the median differs
    between every other round and the rest."""

    p50_ms: float
    p95_ms: float
    spread: float = 0.0


@dataclass(frozen=True, slots=True)
class Measured:
    """Cumulative latency up to and with each exit, and the bits that each layer really ran with, by its name."""

    exits: tuple[Latency, ...]
    kernel_bits: dict[str, int]
    """8: an integer kernel; below 8 one of so many bits; 32: float32."""
    kernels: tuple[str, ...] = ()
    """What ran the layers of few bits, and why, a line each (`spaces.kernels`)."""

    def as_result(self) -> dict[str, Any]:
        """What a measure job answers; `kernel_bits` one a block."""
        return {
            "cumulative_ms": [e.p50_ms for e in self.exits],
            "p95_ms": [e.p95_ms for e in self.exits],
            "spread": [e.spread for e in self.exits],
            "kernel_bits": [bits for name, bits in self.kernel_bits.items() if name.startswith("blocks.")],
            "kernels": list(self.kernels),
            "device": device(),
        }


def measure(spec: JobSpec) -> dict[str, Any]:
    """What a configuration's networks cost here, untrained: latency depends on shapes and kernels, not on weights.

    `float32_ms`, for networks with kernels of integers or few bits: what the same shapes cost in float32, so that one
    sees where few bits do not pay (small layers: quantizing and im2col cost more than they save).
    """
    by = measurer(spec.runtime or OnnxCpu.name, spec.low_bit)
    net = network_of(spec.task.get("options") or {}, spec.nested)
    found = latency(net, by)
    result = {**found.as_result(), "signature": spec.signature}
    if any(bits < 32 for bits in found.kernel_bits.values()):
        result["float32_ms"] = latency(as_float(net), by).as_result()["cumulative_ms"]
    energy = sample_energy_mj(by, by.network(net), meter())
    return result | {"peak_memory_bytes": by.peak_memory_bytes()} | ({} if energy is None else {"energy_mj": energy})


def prepare(options: Mapping[str, Any], nested: Mapping[str, Any], exit_: int, by: Measurer) -> Run:
    """One sample through the untrained network of a config up to an exit, ready to be timed."""
    return by.network(network_of(options, nested), exit_)


def network_of(options: Mapping[str, Any], nested: Mapping[str, Any]) -> FoldedNet:
    """The untrained network of a nested config on the task's data."""
    shape = shape_of(options)
    return untrained(network(nested, shape.shape, shape.classes))


def sample_energy_mj(by: Measurer, run: Run, from_: Meter) -> float | None:
    """Millijoules of one sample: what the device's counter counts while one follows the other. None without a counter;
    one that others share counts them too."""
    spent = Spent(from_)
    if from_.joules() is None:
        return None
    runs = len(by.times(run, ENERGY_S))
    joules = spent.joules()
    return None if joules is None or not runs else 1000.0 * joules / runs


def shape_of(options: Mapping[str, Any]) -> DataShape:
    """Shape and classes of the task's data: as said, else by name, else from the file."""
    if "shape" in options and "classes" in options:
        return DataShape(tuple(int(n) for n in options["shape"]), int(options["classes"]))
    name = str(options.get("data", "digits"))
    return NAMED[name] if name in NAMED else data_shape(name)


def untrained(spec: NetSpec) -> FoldedNet:
    """A network with first weights, whose activation scales and statistics have seen one random batch."""
    net = Net(spec, seed=0)
    with torch.no_grad():
        net.train()(torch.rand(32, *spec.input_shape, generator=torch.Generator().manual_seed(0)))
    return fold(net.eval())


def as_float(net: FoldedNet) -> FoldedNet:
    """The same weights without any quantized layer."""

    def plain(layer: Folded) -> Folded:
        return replace(layer, codes=None, scale=None, enter=None, leave=None, raw=None)

    heads, hidden = ({i: plain(h) for i, h in some.items()} for some in (net.heads, net.hidden))
    return FoldedNet(net.spec, tuple(plain(b) for b in net.blocks), heads, hidden)


def latency(net: FoldedNet, by: Measurer | None = None, batch: int = 1) -> Measured:
    """Latency of every prefix of `net` by a measurer (ONNX Runtime; `batch` samples at once there), and its kernels."""
    if isinstance(by, TorchCpu | TorchCuda):
        exits = time_runs(by, [by.network(net, k) for k in range(len(net.spec.exits))])
        grids = entering(net)
        named = {layer.layer.name: layer for layer in net.layers()}
        how = [ran(layer, by.device, by.low_bit, grids.get(name)) for name, layer in named.items()]
        used = {name: eager_bits(layer, by.device, by.low_bit, grids.get(name)) for name, layer in named.items()}
        return Measured(exits, used, gathered(how))
    models = [build(net, k) for k in range(len(net.spec.exits))]
    x = np.random.default_rng(0).random((batch, *net.spec.input_shape), dtype=np.float32)
    exits = time_models(models, x)
    bits = kernel_bits(models[-1])
    found = {layer.layer.name: bits[layer.layer.name] for layer in net.layers()}
    ran_at = {name: f"runs at {n}" if n < 32 else FLOAT for name, n in found.items()}
    lines = gathered((layer.layer, ran_at[layer.layer.name], in_onnx(layer.layer)[1]) for layer in net.layers())
    return Measured(exits, found, lines)


def time_models(
    models: Sequence[bytes], x: NDArray[Any], rounds: int | None = None, round_s: float = ROUND_S
) -> tuple[Latency, ...]:
    """Latency of each model on the sample `x` [1, ...], in turns; `round_s` seconds a model and round, `rounds` as many
    as fit.

    A prefix is part of the next one: where noise says that the longer costs less, it is given the shorter's figure.
    """
    by = OnnxCpu()
    return time_runs(by, [by.model(model, x) for model in models], rounds, round_s)


def time_runs(
    by: Measurer, runs: Sequence[Run], rounds: int | None = None, round_s: float = ROUND_S
) -> tuple[Latency, ...]:
    """Latency of runs, in turns, each a part of the next one.

    Inside `pace.patient` rounds count that had the machine at full speed; where there are too few, it is waited for."""
    warm = [float(np.median(by.times(run, WARM_S))) for run in runs]
    if rounds is None:
        rounds = fitting(max(warm, default=0.0) / 1000)
    found = _at_full_speed(by, runs, rounds, round_s)
    p50 = np.array([[np.percentile(times, 50) for times in turn] for turn in found])
    p95 = np.array([[np.percentile(times, 95) for times in turn] for turn in found])
    halves = p50[::2].min(axis=0), p50[1::2].min(axis=0) if rounds > 1 else p50.min(axis=0)
    apart = np.abs(halves[0] - halves[1]) / p50.min(axis=0)
    rising = zip(np.maximum.accumulate(p50.min(axis=0)), np.maximum.accumulate(p95.min(axis=0)), apart, strict=True)
    return tuple(Latency(float(a), float(b), float(c)) for a, b, c in rising)


def _at_full_speed(by: Measurer, runs: Sequence[Run], rounds: int, round_s: float) -> list[list[NDArray[np.float64]]]:
    """Times by round and run. A round's pace is the slower one of before and after it."""
    waits = pace.waits() if by.name in ON_CPU else None
    if waits is None:
        return [[by.times(run, round_s) for run in runs] for _ in range(rounds)]
    wanted, found = min(FEWEST, rounds), []
    while True:
        before, began = waits.until_full(), time.perf_counter()
        for _ in range(rounds):
            times = [by.times(run, round_s) for run in runs]
            after = waits.now()
            found.append((min(before, after), times))
            before = after
        full = [times for at, times in found if at >= pace.FULL]
        if len(full) >= wanted or waits.left_s <= 0:
            break
        waits.spend(time.perf_counter() - began)  # for nothing: patience ends on a machine that never holds its speed
    waits.taken(1.0 if len(full) >= wanted else max(at for at, _ in found))
    return full if len(full) >= wanted else [times for _, times in found]


def fitting(run_s: float) -> int:
    """How many rounds of a model whose run takes `run_s` seconds fit into TOTAL_S."""
    return max(FEWEST, min(ROUNDS, int(TOTAL_S / max(ROUND_S, LEAST_RUNS * run_s) + 1e-9)))


def session(model: bytes, optimized: Path | None = None) -> Any:
    """An ONNX Runtime session with one thread; `optimized`: write what the runtime made of the graph there."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry(PRECISE, "1")
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def kernel_bits(model: bytes) -> dict[str, int]:
    """The bits that each convolution and linear layer really runs with, by layer name, from the optimised graph.

    8: an integer kernel multiplies int8 by uint8. 32: float32, whatever the weights were stored as. The runtime keeps
    a node's name inside the name of what it fuses it into.
    """
    with tempfile.TemporaryDirectory(prefix="searchd-") as folder:
        path = Path(folder) / "optimized.onnx"
        session(model, path)
        nodes = onnx.load(str(path)).graph.node
    return {layer_name(n.name): 8 if n.op_type in INTEGER_KERNELS else 32 for n in nodes if _multiplies(n)}


def layer_name(node: str) -> str:
    """`blocks.0.conv_token_2` → `blocks.0`, `fused heads.1.gemm` → `heads.1`: the layer that a node came from."""
    found = LAYER.search(node)
    if found is None:
        raise RuntimeError(f"the runtime calls a node {node!r}, which names no layer: this is a bug")
    return found.group()


def _multiplies(node: Any) -> bool:
    return node.op_type in INTEGER_KERNELS or node.op_type in FLOAT_KERNELS


@cache
def device() -> str:
    """What the figures hold for: device class, processor, runtime and its version."""
    name = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                name = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    return f"cpu · {name} · onnxruntime {ort.__version__} · 1 thread"


def bound(session_: Any, x: NDArray[Any]) -> Any:
    """A session's run with its input `x` and its outputs bound: a call without arguments."""
    binding = session_.io_binding()
    binding.bind_cpu_input("x", x)
    for output in session_.get_outputs():
        binding.bind_output(output.name)
    return lambda: session_.run_with_iobinding(binding)
