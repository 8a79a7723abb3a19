"""Integers of 1 to 8 bits in bit-planes, and products with them, written out: the meaning of the operators.

A code b_{n-1} … b_0 stands for an integer that is affine in its bits, in both formats (`Format`):

    bipolar: Σ (2 b_i − 1) 2^i, the odd integers from −(2^n − 1) to 2^n − 1;      two's complement: Σ ± 2^i b_i

so a product with a matrix is a sum of products with 0/1 matrices, one a plane. Source of the bipolar format and of the
recovery from binary products: Ma and others, 2024, arXiv:2409.17870, "Efficient arbitrary precision acceleration".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

MOST = 8
"""Bits at most: a code is a byte."""


@dataclass(frozen=True, slots=True)
class Format:
    """How `bits` bits stand for an integer: `offset + Σ weights[i] · b_i`."""

    bits: int
    bipolar: bool

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= MOST:
            raise ValueError(f"a format has 1 to {MOST} bits, but bits = {self.bits}: choose a width in between")

    @property
    def weights(self) -> tuple[int, ...]:
        """What each bit counts, the lowest first; the highest of two's complement is negative."""
        if self.bipolar:
            return tuple(2 ** (i + 1) for i in range(self.bits))
        return (*(2**i for i in range(self.bits - 1)), -(2 ** (self.bits - 1)))

    @property
    def offset(self) -> int:
        """The integer whose bits are all 0."""
        return -self.high if self.bipolar else 0

    @property
    def low(self) -> int:
        return -self.high if self.bipolar else -(2 ** (self.bits - 1))

    @property
    def high(self) -> int:
        return (1 << (self.bits if self.bipolar else self.bits - 1)) - 1

    @property
    def step(self) -> int:
        """The distance of neighbours: bipolar integers are odd."""
        return 2 if self.bipolar else 1

    @property
    def most(self) -> int:
        """The largest absolute value."""
        return max(-self.low, self.high)


def encode(values: Tensor, form: Format) -> Tensor:
    """Codes (uint8, the same shape) of integers; ValueError for one that the format has not."""
    v = values.to(torch.int64)
    wrong = (v < form.low) | (v > form.high)
    if form.bipolar:
        wrong |= v % 2 == 0
    if bool(wrong.any()):
        rule = f"odd integers from {form.low} to {form.high}" if form.bipolar else f"{form.low} to {form.high}"
        raise ValueError(
            f"{int(v[wrong][0])} is no {form.bits}-bit {'bipolar' if form.bipolar else 'two’s complement'} integer:"
            f" {rule} are; clip and round first, or take more bits"
        )
    return ((v - form.low) // 2 if form.bipolar else v % 2**form.bits).to(torch.uint8)


def decode(codes: Tensor, form: Format) -> Tensor:
    """The integers (int16, for 8-bit bipolar ones reach ±255) of codes."""
    c = codes.to(torch.int16)
    return 2 * c + form.low if form.bipolar else torch.where(c > form.high, c - 2**form.bits, c)


def pack(values: Tensor, form: Format) -> Tensor:
    """Planes [bits, N, ceil(K / 8)] (uint8) of integers [N, K]: bit k % 8 of byte k // 8 in plane i is bit i of the
    code in column k; what is filled up is 0."""
    codes = encode(values, form)
    rows, columns = codes.shape
    filled = torch.nn.functional.pad(codes, (0, -columns % 8)).view(rows, -(-columns // 8), 8)
    places = torch.arange(8, dtype=torch.uint8, device=codes.device)
    return torch.stack([(((filled >> i) & 1) << places).sum(-1, dtype=torch.uint8) for i in range(form.bits)])


def unpack_codes(planes: Tensor, columns: int) -> Tensor:
    """Codes [N, columns] (uint8) of planes [bits, N, ceil(columns / 8)]."""
    places = torch.arange(8, dtype=torch.uint8, device=planes.device)
    codes = torch.zeros((*planes.shape[1:], 8), dtype=torch.uint8, device=planes.device)
    for i, plane in enumerate(planes):
        codes |= ((plane[..., None] >> places) & 1) << i
    return codes.flatten(1)[:, :columns]


def unpack(planes: Tensor, columns: int, *, bipolar: bool) -> Tensor:
    """The integers [N, columns] (int16) that `pack` was given."""
    return decode(unpack_codes(planes, columns), Format(planes.shape[0], bipolar))


def groups(columns: int, group: int) -> int:
    """How many scales a row has: one a `group` of columns, the last group may be shorter; one where group = 0."""
    return 1 if group == 0 else -(-columns // group)


def spread(scales: Tensor, columns: int, group: int) -> Tensor:
    """Scales [N, G] as one a column, [N, columns]."""
    return scales.repeat_interleave(group or max(columns, 1), dim=1)[:, :columns]


def quantize(weight: Tensor, form: Format, group: int = 0) -> tuple[Tensor, Tensor]:
    """(integers [N, K] int16, scales [N, G]) nearest to a float `weight`; the largest of a group is `high` scales.

    Bipolar: the nearest odd integer, which is a symmetric uniform quantizer with its levels at half steps; 0 goes to
    +1. Two's complement: the nearest integer, half to even. A group of zeros has scale 1.
    """
    rows, columns = weight.shape
    count = groups(columns, group)
    size = group or max(columns, 1)
    filled = torch.nn.functional.pad(weight, (0, count * size - columns)).view(rows, count, size)
    top = filled.abs().amax(-1) / max(1, form.high)
    scales = torch.where(top == 0, torch.ones_like(top), top)  # NaN stays, and so the weight is NaN again
    u = (weight / spread(scales, columns, group)).nan_to_num(1.0)
    found = 2 * torch.floor(u / 2) + 1 if form.bipolar else torch.round(u)
    return found.clamp(form.low, form.high).to(torch.int16), scales


def dequantize(planes: Tensor, scales: Tensor, columns: int, *, bipolar: bool, group: int = 0) -> Tensor:
    """The weight [N, columns] in the dtype of `scales` [N, G]."""
    return unpack(planes, columns, bipolar=bipolar).to(scales.dtype) * spread(scales, columns, group)


def linear(
    x: Tensor, planes: Tensor, scales: Tensor, bias: Tensor | None, *, bipolar: bool, group: int, relu: bool
) -> Tensor:
    """`relu?(x Wᵀ + bias)` in float64, [..., N], for `x` [..., K]."""
    w = dequantize(planes, scales.double(), x.shape[-1], bipolar=bipolar, group=group)
    y = x.double() @ w.T
    y = y if bias is None else y + bias.double()
    return y.clamp_min(0) if relu else y


def rounded(x: Tensor, x_scale: Tensor, low: int, high: int, zero: int) -> tuple[Tensor, Tensor]:
    """(codes of `x` [..., K] int8, scales [...]): x over its scale, half to even, within [low, high], less `zero`. The
    scale of a row with a NaN is NaN."""
    u = torch.round(x / x_scale[..., None]).clamp(low, high).sub(zero)
    return u.nan_to_num(0.0).to(torch.int8), torch.where(x.isnan().any(-1), torch.nan, x_scale)


def integer_sums(x: Tensor, planes: Tensor, *, bipolar: bool, group: int) -> Tensor:
    """Σ over the columns of each group, [..., N, G] (int64), for x [..., K] of integers."""
    columns, size = x.shape[-1], group or max(x.shape[-1], 1)
    count = groups(columns, group)

    def split(of: Tensor) -> Tensor:
        filled = torch.nn.functional.pad(of.to(torch.int64), (0, count * size - columns))
        return filled.view(*of.shape[:-1], count, size)

    return torch.einsum("...gk,ngk->...ng", split(x), split(unpack(planes, columns, bipolar=bipolar)))


def linear_of_integers(
    x: Tensor, x_scale: Tensor, planes: Tensor, scales: Tensor, bias: Tensor | None, *, bipolar: bool, group: int,
    relu: bool,
) -> Tensor:  # fmt: skip
    """`relu?(x_scale Σ_g scales[n, g] · (sum of integers over group g) + bias)` in float64, [..., N], for `x` [..., K]
    of int8 and `x_scale` [] or [...]."""
    sums = integer_sums(x, planes, bipolar=bipolar, group=group)
    y = (sums.double() * scales.double()).sum(-1) * x_scale.double()[..., None]
    y = y if bias is None else y + bias.double()
    return y.clamp_min(0) if relu else y


def backward(
    grad: Tensor, y: Tensor, x: Tensor, planes: Tensor, scales: Tensor, *, bipolar: bool, group: int, relu: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of `linear` for x [..., K], scales [N, G] and bias [N], in the dtype of `grad`; `y`: what it gave.

    d/dx = grad W;  d/dscales[n, g] = Σ over the group's columns of (gradᵀ x)[n, k] · v[n, k];  d/dbias = Σ grad.
    """
    columns = x.shape[-1]
    grad = torch.where(y > 0, grad, torch.zeros_like(grad)) if relu else grad
    values = unpack(planes, columns, bipolar=bipolar).to(grad.dtype)
    to_x = grad @ (values * spread(scales.to(grad.dtype), columns, group))
    samples = math.prod(x.shape[:-1])
    flat, inputs = grad.reshape(samples, grad.shape[-1]), x.to(grad.dtype).reshape(samples, columns)
    each = flat.T @ inputs * values
    size, count = group or max(columns, 1), scales.shape[1]
    filled = torch.nn.functional.pad(each, (0, count * size - columns))
    return to_x, filled.view(scales.shape[0], count, size).sum(-1), flat.sum(0)


ONES = torch.tensor([bin(i).count("1") for i in range(256)], dtype=torch.int64)


def popcount(planes: Tensor) -> Tensor:
    """How many bits are set in the last axis of bytes, int64."""
    return ONES.to(planes.device)[planes.to(torch.int64)].sum(-1)


def binary_products(a: Tensor, b: Tensor, columns: int) -> Tensor:
    """D [na, nb, A, B] (int64), the ±1 products of planes [na, A, bytes] and [nb, B, bytes] over `columns`:
    columns − 2 popcount(a XOR b). Bits filled up are equal in both, and so add nothing."""
    return columns - 2 * popcount(a[:, None, :, None] ^ b[None, :, None, :])


def recover(products: Tensor) -> Tensor:
    """Y [A, B] = Σ 2^(i + j) D[i, j]: the product of two bipolar matrices out of binary ones."""
    na, nb = products.shape[:2]
    each = 2 ** (torch.arange(na)[:, None] + torch.arange(nb)[None, :]).to(products.device)
    return (each[..., None, None] * products).sum((0, 1))


def product(a: Tensor, b: Tensor, columns: int, *, a_bipolar: bool, b_bipolar: bool) -> Tensor:
    """A Bᵀ [A, B] (int64) of integers in planes, of either format: by the planes' 0/1 products, popcount(a AND b).

    With v = o + Σ c_i a_i and w = p + Σ d_j b_j:

        Σ v w = Σ c_i d_j |a_i ∧ b_j| + p Σ c_i |a_i| + o Σ d_j |b_j| + o p K.
    """
    fa, fb = Format(a.shape[0], a_bipolar), Format(b.shape[0], b_bipolar)
    c = torch.tensor(fa.weights, device=a.device)
    d = torch.tensor(fb.weights, device=a.device)
    both = popcount(a[:, None, :, None] & b[None, :, None, :])
    rows, cols = (c[:, None] * popcount(a)).sum(0), (d[:, None] * popcount(b)).sum(0)
    crossed = (c[:, None, None, None] * d[None, :, None, None] * both).sum((0, 1))
    return crossed + fb.offset * rows[:, None] + fa.offset * cols[None, :] + fa.offset * fb.offset * columns
