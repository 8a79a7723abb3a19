"""Packed optimizer states: errors and idempotence as laws, the fast way against the plain one, messages."""

from __future__ import annotations

from dataclasses import replace

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
    dequantize,
    dynamic_map,
    eager,
    linear_map,
    quantize,
    reference,
    zeros,
)

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


@EACH
def test_the_fast_way_is_the_reference_bit_for_bit(name: str) -> None:
    """Codes by upper bits and one comparison: those of the search for the nearest, on every border, beside it by one
    unit, on every entry, for 0, −0, the smallest floats, NaN, and 100,000 random values; and what they stand for."""
    scheme = SCHEMES[name]
    table = reference.table(scheme, torch.empty(0))
    border = (table[1:] + table[:-1]) / 2
    odd = torch.tensor([0.0, -0.0, 1e-40, -1e-40, float("nan"), 1.0, -1.0])
    random = draw(0, (100_000,), scheme).clamp(-1, 1)
    beside = [torch.nextafter(border, torch.tensor(to)) for to in (-9.0, 9.0)]
    u = torch.cat([border, *beside, table, odd, random])
    assert torch.equal(eager.codes_of(u, scheme).to(torch.int64), reference.nearest(u, table))
    for shape in SHAPES:
        x = draw(1, shape, scheme)
        fast, plain = eager.quantize(x, scheme), reference.quantize(x, scheme)
        assert all(torch.equal(a, b) for a, b in zip(fast, plain, strict=True))
        back = [way.dequantize(*plain, x.shape, scheme) for way in (eager, reference)]
        assert torch.equal(*back)


def test_a_map_that_is_too_fine_for_the_fast_way_is_told() -> None:
    """Two borders within 1/128 of a value would make one comparison too few."""
    with pytest.raises(ValueError, match="two borders within 1/128: use reference"):
        eager.buckets((0.5, 0.5001, 0.5002), torch.device("cpu"))


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


def test_schemes_that_cannot_be() -> None:
    """Widths other than 4 and 8, a negative block, a signed linear map; a state of integers."""
    for said in ((3, True, False, 128), (8, True, False, -1), (4, True, True, 128)):
        with pytest.raises(ValueError, match="4 or 8 bits"):
            Scheme(*said)
    with pytest.raises(ValueError, match="only floats can be packed"):
        quantize(torch.zeros(3, dtype=torch.int64), FIRST_8)
