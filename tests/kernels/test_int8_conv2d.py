"""int8_conv2d: sums, dyadic numbers and requantization against Python's integers; scales against float64; messages."""

from __future__ import annotations

from fractions import Fraction
from math import floor
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.int8_conv2d import (
    dyadic,
    int8_conv2d,
    reference,
    requantize,
    requantized_conv2d,
    requantized_linear,
)
from kernels.int8_linear import quantize
from tests.support.kernels import close, poisoned, strided

# Batch, channels of a group, height, width, outputs of a group, kernel, stride, padding, dilation, groups.
CASES: list[dict[str, Any]] = [
    {"x": (1, 1, 1, 1), "codes": (1, 1, 1, 1)},
    {"x": (2, 3, 5, 7), "codes": (4, 3, 3, 3), "padding": 1},
    {"x": (1, 4, 9, 6), "codes": (6, 2, 3, 2), "stride": (2, 1), "padding": (0, 2), "dilation": (2, 3), "groups": 2},
    {"x": (3, 5, 4, 4), "codes": (5, 1, 3, 3), "padding": 1, "groups": 5},
    {"x": (1, 70, 3, 2), "codes": (33, 70, 1, 1), "stride": 2},
    {"x": (1, 130, 4, 3), "codes": (2, 130, 3, 3), "padding": 2},
    {"x": (0, 3, 5, 5), "codes": (4, 3, 3, 3)},
    {"x": (2, 3, 5, 5), "codes": (0, 3, 3, 3)},
    {"x": (2, 0, 5, 5), "codes": (4, 0, 3, 3)},
]
NAMES = [f"{c['x']}*{c['codes']}" for c in CASES]


def draw(seed: int, case: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(x, codes, multiplier, shift, bias) with answers over all of int8, and the geometry."""
    g = torch.Generator().manual_seed(seed)
    x, codes = (torch.randint(-128, 128, case[k], generator=g, dtype=torch.int8) for k in ("x", "codes"))
    rows, inner = codes.shape[0], codes[0].numel() if len(codes) else 1
    ratios = (torch.rand(rows, generator=g) + 0.2) / (60 * max(1, inner) ** 0.5)
    multiplier, shift = dyadic(ratios)
    bias = torch.randint(-3000, 3000, (rows,), generator=g, dtype=torch.int32)
    rest = {k: v for k, v in case.items() if k not in {"x", "codes"}}
    return {"x": x, "codes": codes, "multiplier": multiplier, "shift": shift, "bias": bias}, rest


def pair(given: Any) -> tuple[int, int]:
    return (given, given) if isinstance(given, int) else given


def by_hand(args: dict[str, Any], rest: dict[str, Any]) -> torch.Tensor:
    """Sums and bias in Python's integers, a product at a time: int64 [B, N, H', W']."""
    x, w, bias = args["x"].tolist(), args["codes"].tolist(), args["bias"]
    (samples, channels, height, width), (rows, inner, tall, wide) = args["x"].shape, args["codes"].shape
    (sy, sx), (py, px), (dy, dx) = (pair(rest.get(k, v)) for k, v in (("stride", 1), ("padding", 0), ("dilation", 1)))
    groups = rest.get("groups", 1)
    down, across = (height + 2 * py - dy * (tall - 1) - 1) // sy + 1, (width + 2 * px - dx * (wide - 1) - 1) // sx + 1
    out = torch.zeros(samples, rows, down, across, dtype=torch.int64)
    assert channels == inner * groups
    for b in range(samples):
        for n in range(rows):
            first = n // (rows // groups) * inner
            for y in range(down):
                for z in range(across):
                    total = 0 if bias is None else int(bias[n])
                    for r in range(tall):
                        for s in range(wide):
                            u, v = y * sy - py + r * dy, z * sx - px + s * dx
                            if 0 <= u < height and 0 <= v < width:
                                total += sum(x[b][first + c][u][v] * w[n][c][r][s] for c in range(inner))
                    out[b, n, y, z] = total
    return out


def rounded(total: int, multiplier: int, shift: int, low: int, high: int) -> int:
    """Half up, clipped, in rational numbers."""
    return min(max(floor(Fraction(total * multiplier, 2**shift) + Fraction(1, 2)), low), high)


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_requantized_convolution_is_exact(case: dict[str, Any]) -> None:
    """Every integer of the answer is Python's: strides, padding, dilation, groups, odd sizes, empty ones, views."""
    for seed, (relu, bits) in enumerate(((False, 8), (True, 8), (False, 4), (True, 2))):
        args, rest = draw(seed, case)
        if seed == 2:
            args["bias"] = None
        sums = by_hand(args, rest)
        low, high = reference.limits(bits, relu)
        wanted = torch.empty_like(sums)
        for i in range(sums.shape[1]):
            m, c = int(args["multiplier"][i]), int(args["shift"][i])
            each = [rounded(t, m, c, low, high) for t in sums[:, i].flatten().tolist()]
            wanted[:, i] = torch.tensor(each, dtype=torch.int64).view(sums[:, i].shape)
        with poisoned():
            found = requantized_conv2d(**args, **rest, relu=relu, bits=bits)
            seen = {k: None if v is None else strided(v) for k, v in args.items()}
            assert torch.equal(requantized_conv2d(**seen, **rest, relu=relu, bits=bits), found)
        assert found.dtype == torch.int8
        assert torch.equal(found.long(), wanted)
        if sums.numel() > 200 and bits == 8:
            assert int(found.max()) > 60, "the case says little: answers are near 0"
        at = reference.Geometry(*(pair(rest.get(k, v)) for k, v in (("stride", 1), ("padding", 0), ("dilation", 1))),
                                rest.get("groups", 1))  # fmt: skip
        plain = reference.sums(args["x"], args["codes"], at)
        assert torch.equal(plain + (0 if args["bias"] is None else args["bias"].long()[:, None, None]), sums)


@pytest.mark.parametrize("case", CASES, ids=NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_scales_of_channels(case: dict[str, Any], dtype: torch.dtype) -> None:
    """relu?(scales · sums + bias) in the dtype of the scales: exact sums, then a rounding each for their float, the
    product, the bias and the end."""
    args, rest = draw(5, case)
    g = torch.Generator().manual_seed(6)
    scales, bias = (torch.randn(len(args["codes"]), generator=g).to(dtype) * 1e-3 for _ in range(2))
    sums = by_hand({**args, "bias": None}, rest).double()
    for relu in (False, True):
        with poisoned():
            found = int8_conv2d(args["x"], args["codes"], scales, bias, relu=relu, **rest)
        exact = sums * scales.double()[:, None, None]
        size = exact.abs() + bias.double().abs()[:, None, None]
        exact = exact + bias.double()[:, None, None]
        assert found.dtype == dtype
        close(found, exact.clamp_min(0) if relu else exact, 4, size)


def test_sums_beyond_float32() -> None:
    """Codes at their ends over more products than float32 adds up exactly."""
    x, codes = torch.full((1, 700, 3, 3), -128, dtype=torch.int8), torch.full((2, 700, 3, 3), -128, dtype=torch.int8)
    codes[1] = 127
    x[0, 3, 1, 1] = 1
    found = int8_conv2d(x, codes, torch.ones(2, dtype=torch.float64))
    wanted = (x.long() * codes.long()).sum((1, 2, 3))
    assert found.flatten().tolist() == wanted.tolist()


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 7), (0, 3, 5), (4, 0, 5), (4, 3, 0), (6, 9, 1100)])
def test_requantized_linear_is_exact(shape: tuple[int, int, int]) -> None:
    """[..., N] of [..., K]: Python's integers; a vector, and more dimensions."""
    args, _ = draw(7, {"x": (shape[0], shape[2]), "codes": shape[1:]})
    sums = args["x"].long() @ args["codes"].long().T + args["bias"].long()
    columns = zip(sums.T.tolist(), args["multiplier"].tolist(), args["shift"].tolist(), strict=True)
    wanted = torch.tensor([[rounded(t, m, c, -128, 127) for t in each] for each, m, c in columns], dtype=torch.int8)
    found = requantized_linear(**args)
    assert torch.equal(found, wanted.view(shape[1], shape[0]).T)
    if shape[0] == 6:
        many = {**args, "x": args["x"].view(2, 3, -1)}
        assert torch.equal(requantized_linear(**many).view(found.shape), found)
        assert torch.equal(requantized_linear(**{**args, "x": args["x"][1]}), found[1])


@given(
    total=st.integers(-(2**31), 2**31 - 1), multiplier=st.integers(0, 2**31 - 1), shift=st.integers(1, 62),
    bits=st.integers(2, 8), relu=st.booleans(),
)  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_requantization_is_exact(total: int, multiplier: int, shift: int, bits: int, relu: bool) -> None:
    """Any sum, multiplier and shift: nothing overflows, halves go up, ends are kept."""
    low, high = reference.limits(bits, relu)
    given = (torch.tensor([v], dtype=torch.int32) for v in (multiplier, shift))
    found = requantize(torch.tensor([[total]]), *given, low, high)
    assert int(found) == rounded(total, multiplier, shift, low, high)


def test_sums_saturate_with_their_bias() -> None:
    """A bias at int32's end does not turn the sum around; shifts out of range count as the nearest in range."""
    x, codes = torch.full((1, 1), 127, dtype=torch.int8), torch.tensor([[127], [-128]], dtype=torch.int8)
    bias = torch.tensor([2**31 - 1, -(2**31)], dtype=torch.int32)
    multiplier = torch.full((2,), 2**30, dtype=torch.int32)
    assert requantized_linear(x, codes, multiplier, torch.full_like(multiplier, 54), bias).tolist() == [[127, -128]]
    most = torch.full_like(multiplier, 2**31 - 1)
    assert requantized_linear(x, codes, most, torch.full_like(multiplier, 99), bias).tolist() == [[1, -1]]
    assert requantized_linear(x, codes, multiplier, torch.full_like(multiplier, -4), None).tolist() == [[127, -128]]


@given(ratio=st.floats(2.0**-70, 2.0**29.9))
@settings(max_examples=300, deadline=None)
def test_dyadic_numbers_are_the_nearest(ratio: float) -> None:
    """|m / 2^c − ratio| is at most 2^−32 of the next power of two above, or half of 2^−62; m fits int32, c 1 to 62."""
    m, c = (int(t) for t in dyadic(torch.tensor([ratio], dtype=torch.float64)))
    assert 0 <= m < 2**31
    assert 1 <= c <= 62
    off = abs(Fraction(m, 2**c) - Fraction(ratio))
    assert off <= max(Fraction(ratio) / 2**31, Fraction(1, 2**63))


def test_dyadic_numbers_of_a_table() -> None:
    """By hand: .37 · 2^32 = 1,589,137,899.52; powers of two are exact; a mantissa that rounds up to 1 is halved."""
    m, c = dyadic(torch.tensor([0.37, 0.5, 1.0, 1 - 2.0**-40, 3e-5], dtype=torch.float64))
    assert m.tolist() == [1589137900, 2**30, 2**30, 2**30, round(3e-5 * 2**46)]
    assert c.tolist() == [32, 31, 30, 30, 46]


@pytest.mark.parametrize("ratio", [0.0, -1.0, float("nan"), float("inf"), 2.0**30])
def test_ratios_that_are_none(ratio: float) -> None:
    """The value, the rule and the remedy."""
    with pytest.raises(ValueError, match=r"above 0 and below 2\^30: take scales that are finite and positive"):
        dyadic(torch.tensor([0.5, ratio], dtype=torch.float64))


def test_a_network_in_integers() -> None:
    """Two convolutions and a linear layer, requantized in between, beside the same in floats: a few steps off."""
    g = torch.Generator().manual_seed(8)
    x = torch.randn(4, 3, 8, 8, generator=g)
    weights = [torch.randn(*s, generator=g) / s[1] ** 0.5 / 3 for s in ((8, 3, 3, 3), (6, 8, 3, 3))]
    last = torch.randn(5, 6 * 4, generator=g) / 5
    plain, scale = x, float(x.abs().max()) / 127
    ours = torch.round(x / scale).to(torch.int8)
    for w in weights:
        codes, steps = quantize(w.flatten(1))
        plain = torch.relu(torch.nn.functional.conv2d(plain, w, stride=2, padding=1))
        after = float(plain.max()) / 127
        ours = requantized_conv2d(
            ours, codes.view(w.shape), *dyadic(steps * scale / after), stride=2, padding=1, relu=True
        )
        scale = after
        assert float((ours * scale - plain).abs().max()) < 4 * scale
    codes, steps = quantize(last)
    plain = plain.flatten(1) @ last.T
    after = float(plain.abs().max()) / 127
    ours = requantized_linear(ours.flatten(1), codes, *dyadic(steps * scale / after))
    assert float((ours * after - plain).abs().max()) < 6 * after


@pytest.mark.parametrize("optional", [True, False])
def test_opcheck(optional: bool) -> None:
    """Schema, fake tensors and dynamic shapes hold (torch.library.opcheck)."""
    args, _ = draw(9, CASES[2])
    at = ([2, 1], [0, 2], [2, 3], 2, optional)
    bias = args["bias"] if optional else None
    torch.library.opcheck(torch.ops.searchd.requantized_conv2d.default, (*list(args.values())[:4], bias, *at, 5))
    scales = torch.rand(6)
    torch.library.opcheck(
        torch.ops.searchd.int8_conv2d.default, (args["x"], args["codes"], scales, scales if optional else None, *at)
    )


def test_the_reference_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """SEARCHD_KERNELS=reference gives the same integers."""
    args, rest = draw(10, CASES[2])
    plain = requantized_conv2d(**args, **rest)
    floats = int8_conv2d(args["x"], args["codes"], torch.full((6,), 0.25), **rest)
    monkeypatch.setenv("SEARCHD_KERNELS", "reference")
    assert torch.equal(requantized_conv2d(**args, **rest), plain)
    assert torch.equal(int8_conv2d(args["x"], args["codes"], torch.full((6,), 0.25), **rest), floats)


@pytest.mark.parametrize(("changed", "text"), [
    ({"x": torch.zeros(1, 4, 9, 6)}, r"x is .* of torch.float32, but needs \[B, C, H, W\] of torch.int8: quantize it"),
    ({"codes": torch.zeros(6, 2, 3, dtype=torch.int8)}, r"codes is .* needs \[N, C / groups, R, S\]"),
    ({"groups": 3}, "x has 4 channels, .* groups = 3.*: set groups"),
    ({"groups": 0}, "groups = 0"),
    ({"stride": 0}, "stride is 0, but has to be one or two integers from 1"),
    ({"padding": (1, 2, 3)}, r"padding is \(1, 2, 3\), but has to be one or two integers from 0"),
    ({"dilation": 9}, "no place of the kernel lies inside: pad more"),
    ({"bits": 9}, "bits = 9, but an answer has 2 to 8"),
    ({"multiplier": torch.zeros(6)}, r"multiplier is \[6\] of torch.float32, but needs \[6\] of torch.int32"),
    ({"shift": torch.zeros(5, dtype=torch.int32)}, r"shift is \[5\]"),
    ({"bias": torch.zeros(6, dtype=torch.int64)}, "bias is .* torch.int64"),
    ({"bias": torch.zeros(6, dtype=torch.int32, device="meta")}, "move them to x's"),
])  # fmt: skip
def test_what_does_not_fit_is_told(changed: dict[str, Any], text: str) -> None:
    """Shapes, dtypes and devices: the value, the rule and the remedy."""
    args, _ = draw(11, CASES[2])
    with pytest.raises(ValueError, match=text):
        requantized_conv2d(**{**args, "groups": 2, **changed})


def test_what_else_does_not_fit_is_told() -> None:
    """Scales, sums beyond int32, and matrices that do not meet."""
    x, codes = torch.zeros(1, 4, 2, 2, dtype=torch.int8), torch.zeros(3, 4, 1, 1, dtype=torch.int8)
    with pytest.raises(ValueError, match=r"scales is \[3, 1\] .* needs \[3\] of floats"):
        int8_conv2d(x, codes, torch.ones(3, 1))
    with pytest.raises(ValueError, match=r"a sum has 131072 products"):
        requantized_linear(torch.zeros(1, 2**17, dtype=torch.int8), torch.zeros(1, 2**17, dtype=torch.int8),
                           *dyadic(torch.ones(1)))  # fmt: skip
    with pytest.raises(ValueError, match=r"have to be \[..., K\] and \[N, K\]"):
        requantized_linear(torch.zeros(1, 3, dtype=torch.int8), torch.zeros(2, 4, dtype=torch.int8),
                           *dyadic(torch.ones(2)))  # fmt: skip
