"""Which bits have a kernel: what runs a layer of few bits by a runtime, and why, in a line that a person reads.

    3 bits, linear: runs at 8, no kernel of 3 bits in onnxruntime (blocks.0, blocks.1)
    1 bit, conv: computed as float32, no kernel of few bits for convolutions of floats (blocks.0)

`expected` is arithmetic, asked before anything runs. By torch a linear layer has a kernel where the worker's chooser
says so, which only the worker knows: there the measurement has the lines (`gathered`).
"""

from __future__ import annotations

from collections.abc import Iterable

from spaces.nets import Layer
from spaces.widths import said

ONNX, TORCH = "onnxruntime", ("torch", "torch-cuda")
PRECISE = "session.x64quantprecision"
"""An entry of ONNX Runtime's sessions. On x86 without VNNI its products of uint8 and int8 add up in pairs of 16 bits,
which saturate: answers are other ones than on every other machine. At 1 it takes exact products there; elsewhere it
changes nothing."""
RUNTIMES: tuple[str, ...] = (ONNX, *TORCH)
"""What a worker times networks with."""
FLOAT = "computed as float32"
Ran = tuple[Layer, str, str]
"""A layer, what runs it, and why."""


def expected(layers: Iterable[Layer], runtime: str) -> tuple[str, ...]:
    """The lines of a network's layers, as far as arithmetic knows; none of those of float32."""
    return gathered((layer, *(_in_torch(layer) if runtime in TORCH else in_onnx(layer))) for layer in layers)


def gathered(ran: Iterable[Ran]) -> tuple[str, ...]:
    """One line for all layers of the same bits that the same thing runs for the same reason; none for float32."""
    lines: dict[str, list[str]] = {}
    for layer, what, why in ran:
        if layer.bits < 32:
            width = said(layer.bits, layer.form)
            stored = width if isinstance(width, str) else f"{width:g} bit{'' if width == 1 else 's'}"
            lines.setdefault(f"{stored}, {layer.op}: {what}{', ' if why else ''}{why}", []).append(layer.name)
    return tuple(f"{line} ({', '.join(names)})" for line, names in lines.items())


def in_onnx(layer: Layer) -> tuple[str, str]:
    """(what runs it in ONNX Runtime, why): integers of 8 bits, where weights and inputs are integers."""
    if layer.kernel_bits == 8:
        fewer = f"no kernel of {layer.bits:g} bit{'' if layer.bits == 1 else 's'} in {ONNX}" if layer.bits < 8 else ""
        return "runs at 8", fewer
    if not layer.integer:
        return FLOAT, f"no kernel for it in {ONNX}"
    of = "scales of groups" if layer.shared == "group" else "inputs that are no integers"
    return FLOAT, f"no kernel for {of} in {ONNX}"


def in_torch(layer: Layer) -> str | None:
    """Why torch has no kernel of few bits for a layer; None where `kernels.lowbit_linear` takes it."""
    if not layer.integer:
        return "no kernel for it in torch"
    return None if layer.op == "linear" else "no kernel of few bits for convolutions of floats"


def _in_torch(layer: Layer) -> tuple[str, str]:
    against = in_torch(layer)
    if against is not None:
        return FLOAT, against
    return "runs by lowbit_linear where the device has its kernel, else as float32", "the measurement says which"
