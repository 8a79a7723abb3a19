"""A sub-network cut out of its super-network: statistics taken anew, batch norm folded, ready to run and to store."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spaces.nets import packed_bytes
from spaces.operators import Operator
from spaces.subnets import Step, SubnetSpec
from workers.nets.elastic import EPS, FLOAT_BITS, Supernet, linear, run
from workers.quantizers import packing
from workers.quantizers.double_rounding import HIGH, shifted, stored

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Cut:
    """One layer of a sub-network with its batch norm folded in. `weight` [out, in / groups, k, k] and `bias` [out] are
    what runs; quantized, `weight` is `codes` times `scale` [out], negative where batch norm turns a channel around."""

    step: Step
    weight: Tensor
    bias: Tensor
    codes: Tensor | None = None
    scale: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Subnet:
    """A sub-network that needs its super-network no more."""

    spec: SubnetSpec
    cuts: dict[str, Cut]

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """The logits [B, classes] of samples, one independent of the other, at the last exit."""
        return self.exits(x)[-1]

    @torch.no_grad()
    def exits(self, x: Tensor) -> list[Tensor]:
        """Those of every exit."""
        return run(self.spec, lambda s, x: linear(s.operator, x, self.cuts[s.name].weight, self.cuts[s.name].bias), x)


@torch.no_grad()
def cut(net: Supernet, spec: SubnetSpec, sample: Tensor) -> Subnet:
    """The sub-network, its batch norms by their statistics on `sample`, a batch of training data; layer after layer, so
    that each sees what the layers before it answer once they are normalised (Cai et al., 2020: about 2000 images)."""
    cuts: dict[str, Cut] = {}

    def apply(step: Step, x: Tensor) -> Tensor:
        layer = net.layer(step.name)
        operator = step.operator
        codes = scale = None
        if operator.bits >= FLOAT_BITS:
            weight = layer.part(operator)[0].clone()
        else:
            raw, unit = layer.part(operator)
            bits = int(operator.bits)
            codes = shifted(stored(raw, unit), bits)
            scale = unit * float(2 ** (HIGH - bits))
            weight = codes.float() * _rows(scale, operator)
        if layer.gain is None:
            cuts[step.name] = Cut(step, weight, layer.shift.clone(), codes, scale)
            return linear(operator, x, weight) + layer.shift
        y = linear(operator, x, weight)
        over = [d for d in range(y.dim()) if d != 1]
        mean, variance = y.mean(over), y.var(over, unbiased=False)
        gain = layer.gain[: operator.outputs] / torch.sqrt(variance + EPS)
        bias = layer.shift[: operator.outputs] - gain * mean
        scale = None if scale is None else scale * gain
        folded = weight * _rows(gain, operator) if codes is None else codes.float() * _rows(scale, operator)
        cuts[step.name] = Cut(step, folded.contiguous(), bias, codes, scale)
        return y * _channels(gain, y) + _channels(bias, y)

    run(spec, apply, sample)
    return Subnet(spec, cuts)


def _rows(per_channel: Tensor | None, operator: Operator) -> Tensor:
    if per_channel is None:
        raise RuntimeError(f"{operator.key} is quantized and has no scale: this is a bug")
    return per_channel.view(-1, 1, 1, 1)


def _channels(per_channel: Tensor, y: Tensor) -> Tensor:
    return per_channel.view(1, -1, *[1] * (y.dim() - 2))


def pack(net: Subnet) -> bytes:
    """The weights as bytes, exactly as many as `SubnetSpec.metrics` says: for each layer in order its weights (float32,
    or codes + 2^(b-1) in b bits), the float32 scales [out] where quantized, the float32 bias [out]; little endian."""
    out = []
    for step in net.spec.layers:
        found = net.cuts[step.name]
        if found.codes is None or found.scale is None:
            out.append(_bytes(found.weight))
        else:
            bits = int(step.operator.bits)
            out += [packing.pack(found.codes.numpy().astype(np.int64) + 2 ** (bits - 1), bits), _bytes(found.scale)]
        out.append(_bytes(found.bias))
    return b"".join(out)


def unpack(blob: bytes, spec: SubnetSpec) -> dict[str, tuple[Floats, Floats]]:
    """(weights [out, in / groups, k, k], bias [out]) by layer, of what `pack` wrote; ValueError for another length."""
    if len(blob) != spec.metrics["bytes"]:
        raise ValueError(f"{len(blob)} bytes are no weights of this sub-network, which takes {spec.metrics['bytes']:g}")
    found, at = {}, 0

    def take(count: int) -> bytes:
        nonlocal at
        at += count
        return blob[at - count : at]

    for step in spec.layers:
        operator = step.operator
        shape = (operator.outputs, operator.inputs // operator.groups, operator.kernel, operator.kernel)
        if operator.bits >= FLOAT_BITS:
            weight = np.frombuffer(take(4 * operator.weights), "<f4").reshape(shape)
        else:
            bits = int(operator.bits)
            codes = packing.unpack(take(packed_bytes(operator.weights, bits)), operator.weights, bits) - 2 ** (bits - 1)
            scale = np.frombuffer(take(4 * operator.outputs), "<f4")
            weight = codes.reshape(shape).astype(np.float32) * scale[:, None, None, None]
        found[step.name] = weight, np.frombuffer(take(4 * operator.outputs), "<f4")
    return found


def _bytes(values: Tensor) -> bytes:
    return values.detach().numpy().astype("<f4").tobytes()
