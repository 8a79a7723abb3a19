"""Packed optimizer states: errors and idempotence as laws, steps against float64 and torchao's optimizers, messages."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.blockwise_state import (
    FIRST_4,
    FIRST_8,
    SECOND_4,
    SECOND_8,
    Scheme,
    adamw,
    dequantize,
    dynamic_map,
    linear_map,
    lion,
    quantize,
    reference,
    zeros,
)
from workers.optimizers import Roles, build

SCHEMES = {
    "first8": FIRST_8, "second8": SECOND_8, "first4": FIRST_4, "second4": SECOND_4,
    "second4blocks": replace(SECOND_4, block=128),
}  # fmt: skip
EACH = pytest.mark.parametrize("name", SCHEMES)
SHAPES = [(), (1,), (7,), (300,), (3, 5), (9, 31), (4, 3, 2, 2), (0,), (0, 3), (3, 0)]


def draw(seed: int, shape: tuple[int, ...], scheme: Scheme) -> torch.Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) ** 3
    return x if scheme.signed else x.square()


@EACH
@given(shape=st.sampled_from(SHAPES), seed=st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_what_comes_back_is_the_nearest(name: str, shape: tuple[int, ...], seed: int) -> None:
    """The value that comes back is the nearest of the map times its scale; the largest
    of each block comes back as it is where it is positive; so blocks without signs, packed again, do not change."""
    scheme = SCHEMES[name]
    x = draw(seed, shape, scheme)
    state = quantize(x, scheme)
    back = dequantize(state)
    assert back.shape == x.shape
    by = reference.divisors(state.scales, x.shape, state.scheme.block)[..., None]
    table = reference.table(scheme, x)
    best = (x[..., None] - by * table).abs().amin(-1) if x.numel() else x
    # Both are rounded to float32: two ulps of the scale.
    assert bool(((x - back).abs() <= best + 3e-7 * by.squeeze(-1)).all())
    if not scheme.signed and scheme.block:
        assert torch.equal(dequantize(quantize(back, scheme)), back)
    top = x == by.squeeze(-1)
    torch.testing.assert_close(back[top], x[top])


@EACH
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_sizes(name: str, shape: tuple[int, ...]) -> None:
    """A byte a value, or half of one rounded up, and 4 bytes a scale: a block, or a row and a column."""
    scheme = SCHEMES[name]
    state = zeros(torch.empty(shape), scheme)
    n = torch.Size(shape).numel()
    assert state.codes.numel() == (n if scheme.bits == 8 else -(-n // 2))
    block = scheme.block or (0 if len(shape) > 1 else 128)
    wanted = -(-n // block) if block else shape[0] + torch.Size(shape[1:]).numel()
    assert state.scales.numel() == wanted
    assert state.bytes == state.codes.numel() + 4 * wanted
    assert torch.equal(dequantize(state), torch.zeros(shape))


def test_the_maps_are_those_of_a_peer() -> None:
    """torchao's maps of 8 and 4 bits, to float32 (theirs come out of a float32 linspace)."""
    from torchao.optim.quant_utils import create_dynamic_map
    from torchao.optim.subclass_4bit import get_qmap_unsigned

    for signed in (True, False):
        assert dynamic_map(8, signed=signed) == pytest.approx(create_dynamic_map(signed), rel=3e-7)
    assert dynamic_map(4, signed=True) == pytest.approx(create_dynamic_map(True, 3, 4), rel=3e-7)
    assert linear_map(4) == pytest.approx(get_qmap_unsigned())


def test_a_second_moment_is_never_0() -> None:
    """The linear map has no 0, so what shares a scale with something positive is positive; the dynamic one has."""
    v = torch.tensor([[1.0, 1e-30]])
    assert float(dequantize(quantize(v, replace(SECOND_4, block=128)))[0, 1]) == 1 / 16
    assert float(dequantize(quantize(v, SECOND_8))[0, 1]) == 0


def test_rank_1_spares_what_is_not_in_the_outliers_row_or_column() -> None:
    """One huge row: a block scale drowns all others, rank-1 scales do not."""
    v = torch.rand(16, 16, generator=torch.Generator().manual_seed(0)) + 0.5
    v[3] *= 1e4
    def worst(scheme: Scheme) -> float:
        error = (dequantize(quantize(v, scheme)) - v).abs() / v
        return float(error[torch.arange(16) != 3].max())

    assert worst(SECOND_4) < 0.1
    assert worst(replace(SECOND_4, block=256)) > 100


@EACH
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_is_seen(name: str, bad: float) -> None:
    """NaN and ∞ come back as what is not finite, as may what shares their scale, and nothing else."""
    x = torch.ones(4, 256)
    x[1, 5] = bad
    seen = ~dequantize(quantize(x, SCHEMES[name])).isfinite()
    assert bool(seen[1, 5])
    assert not bool(seen[3, 6:].any())
    assert not bool(seen[2:, :5].any())


def moments(name: str) -> tuple[Scheme, Scheme]:
    return {"8": (FIRST_8, SECOND_8), "4": (FIRST_4, SECOND_4)}[name]


@pytest.mark.parametrize("bits", ["8", "4"])
@pytest.mark.parametrize("shape", [(1,), (37,), (6, 50), (4, 3, 3, 3)], ids=str)
def test_steps_are_adamws_over_what_comes_back(bits: str, shape: tuple[int, ...]) -> None:
    """Three steps: weights and moments as the float64 reference has them from the same packed moments, to float32."""
    first, second = moments(bits)
    p = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    m, v = zeros(p, first), zeros(p, second)
    hyper: dict[str, Any] = {"lr": 0.01, "beta1": 0.8, "beta2": 0.95, "eps": 1e-8, "weight_decay": 0.1}
    for step in (1, 2, 3):
        g = torch.randn(shape, generator=torch.Generator().manual_seed(10 + step))
        exact, m64, v64 = reference.adam(p.double(), g, dequantize(m), dequantize(v), step, **hyper)
        adamw(p, g, m, v, step, **hyper)
        torch.testing.assert_close(p.double(), exact, rtol=1e-5, atol=1e-6)
        for state, wanted in ((m, m64), (v, v64)):
            torch.testing.assert_close(dequantize(state), dequantize(quantize(wanted.float(), state.scheme)),
                                       rtol=1e-5, atol=float(wanted.abs().max()) * 0.1)  # fmt: skip


def test_adamw_without_packing_is_torchs() -> None:
    """The reference's arithmetic alone, in float64: torch.optim.AdamW over five steps."""
    p = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    theirs = p.clone().requires_grad_()
    optimizer = torch.optim.AdamW([theirs], lr=0.02, betas=(0.8, 0.9), eps=1e-6, weight_decay=0.3)
    m = v = torch.zeros_like(p)
    for step in range(1, 6):
        theirs.grad = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(step))
        p, m, v = reference.adam(p, theirs.grad, m, v, step, lr=0.02, beta1=0.8, beta2=0.9, eps=1e-6, weight_decay=0.3)
        optimizer.step()
        torch.testing.assert_close(p, theirs.detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("bits", ["8", "4"])
def test_a_peer_takes_the_same_steps(bits: str) -> None:
    """torchao's AdamW of 8 and of 4 bits (there in blocks of 128 for both moments) over six steps of 64 × 128 weights:
    the same to float32, but for values that fall between two codes by a rounding (a thousandth of them)."""
    first, second = (FIRST_8, SECOND_8) if bits == "8" else (FIRST_4, replace(SECOND_4, block=128))
    p = torch.randn(64, 128, generator=torch.Generator().manual_seed(3))
    theirs = torch.nn.Parameter(p.clone())
    hyper = {"lr": 0.01, "weight_decay": 0.05}
    optimizer = build(f"adamw_{bits}bit", Roles.of([("blocks.0", theirs)]), hyper)
    m, v = zeros(p, first), zeros(p, second)
    for step in range(1, 7):
        g = torch.randn(64, 128, generator=torch.Generator().manual_seed(20 + step))
        theirs.grad = g.clone()
        optimizer.step()
        adamw(p, g, m, v, step, **hyper)
    apart = (p - theirs.detach()).abs() > 1e-5
    assert float(apart.float().mean()) < 1e-3


def test_lion() -> None:
    """Two steps by hand in float64: the golden values of ALGORITHMS 16.2, the moment packed in 8 bits between them."""
    p = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    m = zeros(p, FIRST_8)
    for gradient, after in (((0.5, -0.1), (0.989, -1.988)), ((0.25, 0.3), (0.978011, -1.996012))):
        lion(p, torch.tensor([gradient]), m, lr=1e-2, weight_decay=0.1)
        assert p.flatten().tolist() == pytest.approx(after, abs=1.1e-6)
    assert dequantize(m).flatten().tolist() == pytest.approx([0.00745, 0.00201], rel=0.05)


def test_half_precision_weights_and_views() -> None:
    """bfloat16 weights move as float32 ones, rounded; a gradient that is a view gives what its copy gives."""
    g = torch.randn(40, 30, generator=torch.Generator().manual_seed(4)).T
    moved = []
    for dtype, grad in ((torch.float32, g), (torch.bfloat16, g), (torch.float32, g.contiguous())):
        p = torch.ones(30, 40, dtype=dtype)
        adamw(p, grad, zeros(p, FIRST_4), zeros(p, SECOND_4), 1, lr=0.1)
        moved.append(p)
    assert torch.equal(moved[0], moved[2])
    assert torch.equal(moved[0].bfloat16(), moved[1])


@EACH
def test_opcheck_of_packing(name: str) -> None:
    """Schema, fake tensors and dynamic shapes hold for packing and unpacking (torch.library.opcheck)."""
    state = quantize(torch.rand(5, 60), SCHEMES[name])
    s = state.scheme
    said = (s.bits, s.signed, s.linear, s.block)
    torch.library.opcheck(torch.ops.searchd.state_quantize.default, (torch.rand(5, 60), *said))
    torch.library.opcheck(
        torch.ops.searchd.state_dequantize.default, (state.codes, state.scales, [5, 60], *said)
    )


def test_opcheck_of_steps() -> None:
    """The steps change what their schema says and nothing else (torch.library.opcheck)."""
    p, g = torch.rand(5, 60), torch.rand(5, 60)
    m, v = zeros(p, FIRST_4), zeros(p, SECOND_4)
    torch.library.opcheck(torch.ops.searchd.blockwise_adamw.default, (
        p, g, m.codes, m.scales, v.codes, v.scales, 1, 0.1, 0.9, 0.99, 1e-8, 0.0, 4, True, False, 128, 4, True, 0,
    ))  # fmt: skip
    torch.library.opcheck(torch.ops.searchd.blockwise_lion.default, (
        p, g, m.codes, m.scales, 0.1, 0.9, 0.99, 0.0, 4, True, False, 128,
    ))  # fmt: skip


@pytest.mark.parametrize(("changed", "text"), [
    ({"p": torch.zeros(2, 3, dtype=torch.int32)}, "both have to be floats"),
    ({"grad": torch.zeros(3, 2)}, r"gradient is \[3, 2\], but the weights are \[2, 3\]"),
    ({"first": zeros(torch.zeros(6), FIRST_8)}, r"first moment is that of \[6\].*begin with zeros"),
    ({"first": zeros(torch.zeros(2, 3), SECOND_8)}, "has both signs: use FIRST_8"),
    ({"second": zeros(torch.zeros(2, 3), FIRST_8)}, "squares have no sign: use SECOND_8"),
    ({"step": 0}, "the first step is 1"),
    ({"grad": torch.zeros(2, 3, device="meta")}, "move them to p's"),
])  # fmt: skip
def test_what_does_not_fit_is_told(changed: dict[str, Any], text: str) -> None:
    """Shapes, dtypes, devices and schemes: the value, the rule and the remedy."""
    p = torch.zeros(2, 3)
    said: dict[str, Any] = {"p": p, "grad": p, "first": zeros(p, FIRST_8), "second": zeros(p, SECOND_8), "step": 1}
    with pytest.raises(ValueError, match=text):
        adamw(**{**said, **changed}, lr=0.1)


def test_schemes_that_cannot_be() -> None:
    """Widths other than 4 and 8, a negative block, a signed linear map; a state of integers."""
    for said in ((3, True, False, 128), (8, True, False, -1), (4, True, True, 128)):
        with pytest.raises(ValueError, match="4 or 8 bits"):
            Scheme(*said)
    with pytest.raises(ValueError, match="only floats can be packed"):
        quantize(torch.zeros(3, dtype=torch.int64), FIRST_8)
