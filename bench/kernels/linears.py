"""Linear layers of few bits: `lowbit_linear` at 1 to 8 bits, of inputs in floats and in int8, and `int8_linear`; at
batch 1 and 16.

All are compared with torch's linear layer in bfloat16, which moves 16 bits a weight. Ours reads bit-planes; what is
beside it is torch's layer in float32 on a CPU, int8 codes times a scale compiled by torch, torchao's weight-only and
dynamic layers, and bitsandbytes'. A peer quantizes in its own way, so its answer is held against its own weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.kernels.rows import Case, Provider, apart, missing, there
from kernels._choose import choose
from kernels.int8_linear import int8_linear
from kernels.int8_linear import quantize as int8_quantize
from kernels.int8_linear import reference as int8
from kernels.lowbit_linear import Format, lowbit_linear, pack, quantize, reference
from kernels.lowbit_linear import eight as eight_

SHAPES = {"cuda": ((4096, 4096), (11008, 4096)), "cpu": ((1024, 1024),), "tiny": ((9, 33),)}
"""Outputs, inputs."""
BATCHES = (1, 16)
BF16 = "torch bf16"
SINGLE, HALF = (1e-5, "sums of float32"), (2.0**-7, "bfloat16 in and out")
EIGHT = (0.03, "8 bits each for weights and inputs: about .9 % each")
NF4 = (0.2, "NF4 keeps normal weights to about 10 %, a few dozen of them to 15")


class Drawn:
    """A weight [N, K] and a batch, the same at every call; `dtype`: what ours is given."""

    def __init__(self, device: torch.device, shape: tuple[int, int], batch: int) -> None:
        g = torch.Generator().manual_seed(0)
        self.device, self.shape, self.batch = device, shape, batch
        self.dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        self.weight = (torch.randn(shape, generator=g) / shape[1] ** 0.5).to(device)
        self.x = torch.randn(batch, shape[1], generator=g).to(device, self.dtype)
        self.rest = self.x.element_size() * batch * sum(shape)
        """Bytes of input and output."""

    @property
    def size(self) -> str:
        return f"{self.batch}x{self.shape[1]} to {self.shape[0]}"

    @property
    def name(self) -> str:
        return str(self.dtype).removeprefix("torch.")

    @property
    def near(self) -> tuple[float, str]:
        return SINGLE if self.dtype == torch.float32 else HALF


def cases(device: torch.device, size: str) -> Iterator[Case]:
    """`lowbit_linear` of 1 to 8 bits."""
    return (lowbit(drawn, bits) for drawn in _drawn(device, size) for bits in range(1, 9))


def integer_cases(device: torch.device, size: str) -> Iterator[Case]:
    """`lowbit_linear` of int8 inputs, of 1 to 8 bits."""
    return (integers(drawn, bits) for drawn in _drawn(device, size) for bits in range(1, 9))


def int8_cases(device: torch.device, size: str) -> Iterator[Case]:
    """`int8_linear`."""
    return (eight(drawn) for drawn in _drawn(device, size))


def _drawn(device: torch.device, size: str) -> Iterator[Drawn]:
    return (Drawn(device, shape, batch) for shape in SHAPES[size] for batch in BATCHES)


def lowbit(d: Drawn, bits: int) -> Case:
    """One width: bipolar for 1 and 2 bits, two's complement above, one scale a row."""
    form = Format(bits, bits < 3)
    values, scales = quantize(d.weight, form)
    planes = pack(values, form)
    wanted = reference.linear(d.x, planes, scales, None, bipolar=form.bipolar, group=0, relu=False)
    codes, scale = values.to(torch.int8), scales[:, 0].to(d.dtype)
    loose = SINGLE if d.dtype == torch.float32 else (2.0**-6, "scales in bfloat16 too")
    by_codes = Provider(
        "torch.compile", lambda: _bound(d.x, torch.compile(_by_codes, dynamic=False), codes, scale),
        _near(wanted, *loose), "codes of int8 times a scale", codes.numel() + d.rest,
    )  # fmt: skip
    choice = choose("lowbit_linear", d.x)
    ours = Provider(
        "ours", lambda: _bound(d.x, _ours, planes, scales, form.bipolar), _near(wanted, *d.near),
        f"{choice.provider}: {choice.why}",
    )  # fmt: skip
    peers = [_torchao(d, f"int{bits}")] if there("torchao") else []
    if bits == 4 and there("bitsandbytes"):
        peers.append(_bitsandbytes(d, "Linear4bit"))
    count = planes.numel() + 4 * scales.numel() + d.rest
    absent = missing("torchao", *(["bitsandbytes"] if bits == 4 else []))
    return Case("lowbit_linear", d.size, d.name, str(bits), count, (ours, *_plain(d), by_codes, *peers), BF16, absent)


def integers(d: Drawn, bits: int) -> Case:
    """One width, as `lowbit` has it, of inputs that are int8 already, with one scale."""
    form = Format(bits, bits < 3)
    values, scales = quantize(d.weight, form)
    planes, scale = pack(values, form), scales[:, 0].contiguous()
    top = d.x.float().abs().max() / 127
    x, step = torch.round(d.x.float() / top).to(torch.int8), top.to(d.dtype)
    wanted = reference.linear_of_integers(
        x, step, planes, scales, None, bipolar=form.bipolar, group=0, relu=False
    )
    choice = choose(eight_.OP, x, step)
    ours = Provider(
        "ours", lambda: _bound(x, _ours_of_integers, step, planes, scales, form.bipolar), _near(wanted, *d.near),
        f"{choice.provider}: {choice.why}",
    )  # fmt: skip
    exact = reference.linear(d.x, planes, scales, None, bipolar=form.bipolar, group=0, relu=False)
    count = planes.numel() + 4 * scales.numel() + d.batch * (d.shape[1] + d.x.element_size() * d.shape[0])
    floats = Provider("ours, floats", lambda: _bound(d.x, _ours, planes, scales, form.bipolar),
                      _near(exact, *d.near), "lowbit_linear of inputs in floats",
                      planes.numel() + 4 * scales.numel() + d.rest)  # fmt: skip
    codes = values.to(torch.int8)
    moved = codes.numel() + count - planes.numel()
    eager = Provider("torch eager", lambda: _bound(x, _products, codes, step * scale), _near(wanted, *d.near),
                     "torch._int_mm; a byte a weight", moved)  # fmt: skip
    made = Provider("torch.compile", lambda: _bound(x, torch.compile(_products, dynamic=False), codes, step * scale),
                    _near(wanted, *d.near), "of the same", moved)  # fmt: skip
    return Case(eight_.OP, d.size, d.name, str(bits), count, (ours, floats, *_plain(d), eager, made), BF16)


def _products(x: Tensor, codes: Tensor, scale: Tensor) -> Tensor:
    return (_int_mm(x, codes) * scale.float()).to(scale.dtype)


def _ours_of_integers(x: Tensor, step: Tensor, planes: Tensor, scales: Tensor, bipolar: bool) -> Tensor:
    return lowbit_linear(x, planes, scales, bipolar=bipolar, x_scale=step)


def eight(d: Drawn) -> Case:
    """LLM.int8(): weights and inputs in 8 bits, no input beyond the threshold."""
    codes, scales = int8_quantize(d.weight)
    wanted = int8.linear(d.x, codes, scales, None, None, 6.0)
    exact = d.x.double() @ d.weight.double().T
    choice = choose("int8_linear", d.x)
    ours = Provider(
        "ours", lambda: _bound(d.x, int8_linear, codes, scales), _near(wanted, 5e-3, "an input's code may be a tie")
        if d.dtype == torch.float32 else _near(wanted, *HALF), f"{choice.provider}: {choice.why}",
    )  # fmt: skip
    eager = Provider("torch eager", lambda: _bound(d.x, _eight, codes, scales), _near(exact, *EIGHT), "torch._int_mm")
    made = Provider("torch.compile", lambda: _bound(d.x, torch.compile(_eight, dynamic=False), codes, scales),
                    _near(exact, *EIGHT), "of the same")  # fmt: skip
    peers = [_torchao(d, "dynamic")] if there("torchao") else []
    if there("bitsandbytes"):
        peers.append(_bitsandbytes(d, "Linear8bitLt"))
    count = codes.numel() + 4 * scales.numel() + d.rest
    providers = (ours, *_plain(d), eager, made, *peers)
    return Case("int8_linear", d.size, d.name, "8", count, providers, BF16, missing("torchao", "bitsandbytes"))


def _ours(x: Tensor, planes: Tensor, scales: Tensor, bipolar: bool) -> Tensor:
    return lowbit_linear(x, planes, scales, bipolar=bipolar)


def _by_codes(x: Tensor, codes: Tensor, scale: Tensor) -> Tensor:
    return (x @ codes.to(x.dtype).T) * scale


def _eight(x: Tensor, codes: Tensor, scales: Tensor) -> Tensor:
    """Rows of x by their largest value to 127 levels, a product of integers, both scales."""
    step = x.float().abs().amax(1, keepdim=True).clamp_min(1e-12) / 127
    return (_int_mm(torch.round(x.float() / step).to(torch.int8), codes) * step * scales).to(x.dtype)


def _int_mm(x: Tensor, codes: Tensor) -> Tensor:
    if x.is_cuda:  # torch's product of integers wants more than 16 rows there
        return torch._int_mm(functional.pad(x, (0, 0, 0, max(0, 32 - len(x)))), codes.T)[: len(x)]
    return torch._int_mm(x, codes.T)


def _plain(d: Drawn) -> list[Provider]:
    """torch's own layer in bfloat16, and in float32 where ours is given float32."""
    half, x16 = d.weight.bfloat16(), d.x.bfloat16()
    wanted = x16.double() @ half.double().T
    found = [
        Provider(BF16, lambda: _bound(x16, functional.linear, half), _near(wanted, *HALF), "",
                 2 * half.numel() + 2 * d.batch * sum(d.shape))
    ]  # fmt: skip
    if d.dtype == torch.float32:
        exact = d.x.double() @ d.weight.double().T
        found.append(
            Provider("torch float32", lambda: _bound(d.x, functional.linear, d.weight), _near(exact, *SINGLE), "",
                     4 * d.weight.numel() + d.rest)
        )  # fmt: skip
    return found


def _layer(d: Drawn) -> nn.Sequential:
    layer = nn.Linear(d.shape[1], d.shape[0], bias=False)
    layer.weight.data.copy_(d.weight)
    return nn.Sequential(layer).to(d.device, d.dtype).requires_grad_(False)


def _torchao(d: Drawn, kind: str) -> Provider:
    """`int1` … `int8`: weights only, one scale a row; `dynamic`: inputs in 8 bits too."""
    weights: list[Tensor] = []

    def ready() -> Callable[[], Tensor]:
        from torchao import quantization as q
        from torchao.quantization.granularity import PerAxis

        made = _layer(d)
        said = q.Int8DynamicActivationInt8WeightConfig() if kind == "dynamic" else q.IntxWeightOnlyConfig(
            weight_dtype=getattr(torch, kind), granularity=PerAxis(0)
        )  # fmt: skip
        q.quantize_(made, said)
        layer: Any = made[0]
        weights.append(layer.weight.dequantize().double())
        return _bound(d.x, torch.compile(made, dynamic=False) if d.device.type == "cuda" else made)

    def wrong(found: Tensor) -> str | None:
        exact = d.x.double() @ weights[-1].T
        return apart(found, exact, *(EIGHT if kind == "dynamic" else d.near))

    how = "compiled" if d.device.type == "cuda" else "eager"
    return Provider("torchao", ready, wrong, f"{kind}, {how}; a byte a weight", d.weight.numel() + d.rest)


def _bitsandbytes(d: Drawn, kind: str) -> Provider:
    """Its layer of 4 bits (NF4), or of 8 (LLM.int8())."""
    share, why = (
        (0.2, "NF4 keeps normal weights to about 10 %, a few dozen of them to 15") if kind == "Linear4bit" else EIGHT
    )
    exact = d.x.double() @ d.weight.double().T

    def ready() -> Callable[[], Tensor]:
        nn_ = import_module("bitsandbytes.nn")
        outputs, inputs = d.shape
        if kind == "Linear4bit":
            made = nn_.Linear4bit(inputs, outputs, bias=False, compute_dtype=d.dtype, quant_type="nf4")
        else:
            made = nn_.Linear8bitLt(inputs, outputs, bias=False, has_fp16_weights=False, threshold=6.0)
        made.load_state_dict({"weight": d.weight.cpu().to(d.dtype)})
        return _bound(d.x, made.to(d.device))

    bits = 4 if kind == "Linear4bit" else 8
    return Provider("bitsandbytes", ready, lambda y: apart(y, exact, share, why), kind,
                    d.weight.numel() * bits // 8 + d.rest)  # fmt: skip


def _near(wanted: Tensor, share: float, why: str) -> Callable[[Tensor], str | None]:
    return lambda found: apart(found, wanted, share, why)


def _bound(x: Tensor, function: Callable[..., Tensor], *others: Any) -> Callable[[], Tensor]:
    def run() -> Tensor:
        with torch.inference_mode():
            return function(x, *others)

    return run
