"""The weight artifact: exactly the bytes that `spaces.describe` says, nothing beside them.

Layers in the order of storage (each block, then its head); a layer is
    quantized   level indices bit-packed, rounded up to a byte  ·  scale float32 [out]  ·  bias float32 [out]
                with groups: scale float32 [out, groups]
    fp8, 16     bit patterns, 1 or 2 bytes each  ·  scale float32 [out]  ·  bias float32 [out]
    32 bits     weight float32 [out, fan_in]  ·  bias float32 [out]
little endian. Batch norm is folded. There is no header: the spec (in `config.json` beside it) says where what is.
Activation scales are no weights; they live in the ONNX file and the model card.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spaces.nets import Layer, NetSpec, packed_bytes
from workers.nets.fold import Floats, Folded, FoldedNet, product
from workers.quantizers import packing
from workers.quantizers.floating import numbers_of
from workers.quantizers.weights import FLOAT_BITS, levels, unit


@dataclass(frozen=True, slots=True)
class Stored:
    """One layer read back: what `Folded` says of its weights."""

    layer: Layer
    codes: NDArray[np.int8] | None
    scale: Floats | None
    weight: Floats
    bias: Floats
    raw: NDArray[np.unsignedinteger[Any]] | None = None


def pack(net: FoldedNet) -> bytes:
    """All weights of `net` as bytes."""
    return b"".join(_pack(layer) for layer in net.layers())


def unpack(blob: bytes, spec: NetSpec) -> list[Stored]:
    """The layers that `pack` stored; ValueError when `blob` is not as long as the spec says."""
    reader = _Reader(blob)
    layers = [_unpack(reader, layer) for layer in spec.layers]
    reader.end()
    return layers


def _pack(folded: Folded) -> bytes:
    if folded.raw is not None and folded.scale is not None:
        bits = folded.raw.astype(folded.raw.dtype.newbyteorder("<"))
        return bits.tobytes() + _float(folded.scale) + _float(folded.bias)
    if folded.codes is None or folded.scale is None:
        return _float(folded.weight) + _float(folded.bias)
    grid = levels(folded.layer.bits)
    index = np.round(folded.codes * unit(grid) * grid.steps - grid.shift).astype(np.int64) - grid.first
    return packing.pack(index, folded.layer.bits) + _float(folded.scale) + _float(folded.bias)


def _unpack(reader: _Reader, layer: Layer) -> Stored:
    out, fan_in = layer.outputs, layer.weights // layer.outputs
    if layer.bits >= FLOAT_BITS:
        weight = reader.floats(out * fan_in).reshape(out, fan_in)
        return Stored(layer, None, None, weight, reader.floats(out))
    count = out * fan_in
    if layer.form:
        kind = "<u1" if layer.bits == 8 else "<u2"
        raw = np.frombuffer(reader.take(packed_bytes(count, layer.bits)), kind).reshape(out, fan_in)
        scale = reader.floats(out)
        weight = product(numbers_of(raw.astype(kind[1:]), layer.form), scale)
        return Stored(layer, None, scale, weight, reader.floats(out), raw)
    grid = levels(layer.bits)
    index = packing.unpack(reader.take(packed_bytes(count, layer.bits)), count, layer.bits)
    value = (index + grid.first + grid.shift) / grid.steps / unit(grid)
    codes = np.round(value).astype(np.int8).reshape(out, fan_in)
    scale = reader.floats(out * layer.groups)
    scale = scale.reshape(out, -1) if layer.shared == "group" else scale
    return Stored(layer, codes, scale, product(codes, scale, layer.group), reader.floats(out))


def _float(array: NDArray[Any]) -> bytes:
    return array.astype("<f4").tobytes()


class _Reader:
    """Takes bytes off the front and minds the length."""

    def __init__(self, blob: bytes) -> None:
        self._blob, self._at = blob, 0

    def take(self, count: int) -> bytes:
        if self._at + count > len(self._blob):
            raise ValueError(f"the artifact has {len(self._blob)} bytes, and its spec needs more: another network's?")
        self._at += count
        return self._blob[self._at - count : self._at]

    def floats(self, count: int) -> Floats:
        return np.frombuffer(self.take(4 * count), "<f4").astype(np.float32)

    def end(self) -> None:
        if self._at != len(self._blob):
            raise ValueError(f"the artifact has {len(self._blob)} bytes, its spec needs {self._at}: another network's?")
