"""The kernels of `blockwise_adam`, run by Triton's interpreter: the contract of `tests/support/steps.py`; and the codes
that kernels compute, on every border."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import triton
import triton.language as tl

from kernels.blockwise_adam import adamw
from kernels.blockwise_state import FIRST_4, FIRST_8, SECOND_4, SECOND_8, Scheme, chosen, dequantize, reference, zeros
from kernels.blockwise_state.codes import encode
from tests.support.kernels import runs_in_triton
from tests.support.steps import FEW, SCHEMES, check_adam

EACH = pytest.mark.parametrize("name", SCHEMES)


@EACH
@pytest.mark.parametrize("shift", [32, 33])
def test_a_step_is_the_reference(name: str, shift: int) -> None:
    """All sizes and shapes in one launch; at addresses of whole 16 bytes, and at others."""
    runs_in_triton("blockwise_adam", torch.zeros(3))
    check_adam(name, int(torch.randint(2**31, ())), shift=shift)


@EACH
def test_half_precision_and_strides(name: str) -> None:
    """Weights and gradients of 16 bits; what is not contiguous."""
    check_adam(name, 1, FEW, dtype=torch.bfloat16)
    check_adam(name, 1, FEW, dtype=torch.float16)
    check_adam(name, 2, FEW, crooked=True)


@EACH
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # NumPy's, of the NaN that is the point here
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_is_seen(name: str, bad: float) -> None:
    """A gradient of NaN or ∞: the weight and its block's moments are not finite any more, and other blocks are."""
    first, second = SCHEMES[name]
    p, g = torch.ones(4, 512), torch.ones(4, 512)
    g[1, 5] = bad
    m, v = zeros(p, first), zeros(p, second)
    adamw([p], [g], [m], [v], 1, lr=0.1)
    for t in (p, dequantize(m), dequantize(v)):
        assert not bool(t[1, 5].isfinite())
        assert bool(t[3, 6:].isfinite().all())


def test_zeros_stay_zeros() -> None:
    """No gradient, no moments: nothing moves and no division by 0 is seen."""
    for first, second in SCHEMES.values():
        p = torch.ones(300)
        m, v = zeros(p, first), zeros(p, second)
        adamw([p], [torch.zeros(300)], [m], [v], 1, lr=0.1)
        assert bool((p == 1).all())
        assert not bool(dequantize(m).any() or dequantize(v).any())


def test_blocks_that_no_kernel_takes_run_in_torch() -> None:
    """Moments in blocks of different sizes, or of no power of 2: torch, and the chooser says why."""
    p = [torch.zeros(3)]
    for first, second in ((replace(FIRST_8, block=64), SECOND_8), (replace(FIRST_8, block=96),) * 2):
        choice = chosen("blockwise_adam", p, p, first, second)
        assert choice.provider == "torch"
        assert f"these are of {first.block} and {second.block}" in choice.why
    assert chosen("blockwise_adam", p, p, FIRST_4, SECOND_4).provider == "triton"


@triton.jit
def _encode_kernel(u, out, N: tl.constexpr, BITS: tl.constexpr, SIGNED: tl.constexpr, LINEAR: tl.constexpr):
    at = tl.arange(0, N)
    tl.store(out + at, encode(tl.load(u + at), BITS, SIGNED, LINEAR))


@pytest.mark.parametrize("scheme", [FIRST_8, SECOND_8, FIRST_4, replace(SECOND_8, bits=4), SECOND_4], ids=str)
def test_codes_are_the_nearest(scheme: Scheme) -> None:
    """On every entry, 1e-6 of itself beside every border, at 0, ±1 and 16,384 random values of all decades, none nearer
    to a border than that: the reference's code. In between the code depends on float32's rounding."""
    table = reference.table(scheme, torch.empty(0))
    border = (table[1:] + table[:-1]) / 2
    random = torch.rand(2**14) * 10 ** (-8 * torch.rand(2**14)) * torch.randn(2**14).sign()
    random = random[((random[:, None].abs() - border.abs()).abs() > 1e-6 * border.abs()).all(1)]
    odd = torch.tensor([0.0, -0.0, 1.0, -1.0, 1e-40])
    u = torch.cat([table, border * (1 - 1e-6), border * (1 + 1e-6), odd, random])
    u = u if scheme.signed else u.abs()
    whole = torch.zeros(triton.next_power_of_2(len(u)))
    whole[: len(u)] = u
    out = torch.full(whole.shape, -1, dtype=torch.int32)
    _encode_kernel[(1,)](whole, out, len(whole), scheme.bits, scheme.signed, scheme.linear)
    assert torch.equal(out.to(torch.int64), reference.nearest(whole, table))
