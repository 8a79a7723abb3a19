"""G15 (ALGORITHMS 15.1 to 15.4) to the digit: the bipolar product, the dynamic map, rank-1 4-bit states, LLM.int8()."""

from __future__ import annotations

import pytest
import torch

from kernels.blockwise_state import FIRST_8, SECOND_4, dequantize, dynamic_map, linear_map, quantize
from kernels.int8_linear import int8_linear
from kernels.int8_linear import quantize as to_int8
from kernels.int8_linear import reference as int8
from kernels.lowbit_linear import Format, lowbit_linear, pack, plane_product
from kernels.lowbit_linear import reference as lowbit

W2, X3 = Format(2, bipolar=True), Format(3, bipolar=True)
W, X = torch.tensor([[3, -1, -3, 1]]), torch.tensor([[7, -5, 1, -3]])


def test_bipolar_integers() -> None:
    """1 bit {−1, 1}; 2 bits {−3, −1, 1, 3}; 3 bits the odd ones to 7; the code is (v + 2^n − 1) / 2."""
    for bits in range(1, 9):
        form = Format(bits, bipolar=True)
        values = lowbit.decode(torch.arange(2**bits, dtype=torch.uint8), form).tolist()
        assert values == list(range(1 - 2**bits, 2**bits, 2))
        assert lowbit.encode(torch.tensor(values), form).tolist() == [(v + 2**bits - 1) // 2 for v in values]


def test_bipolar_planes() -> None:
    """W = (3, −1, −3, 1) in 2 bits and X = (7, −5, 1, −3) in 3: the planes, bit by bit (k = 0 is the lowest)."""
    def bits(plane: int) -> list[int]:
        return [plane >> k & 1 for k in range(8)]

    assert [bits(p) for p in pack(W, W2).flatten().tolist()] == [[1, 1, 0, 0] + [0] * 4, [1, 0, 0, 1] + [0] * 4]
    assert [bits(p) for p in pack(X, X3).flatten().tolist()] == [
        [1, 1, 0, 0] + [0] * 4, [1, 0, 0, 1] + [0] * 4, [1, 0, 1, 0] + [0] * 4
    ]  # fmt: skip


def test_bipolar_product_20() -> None:
    """D_00 = D_11 = 4 and all others 0; 4 · 1 + 4 · 4 = 20 = W · X, by every way there is."""
    w, x = pack(W, W2), pack(X, X3)
    products = lowbit.binary_products(w, x, 4)
    assert products[:, :, 0, 0].tolist() == [[4, 0, 0], [0, 4, 0]]
    assert lowbit.recover(products).tolist() == [[20]]
    assert plane_product(w, x, 4, a_bipolar=True, b_bipolar=True).tolist() == [[20]]
    assert lowbit_linear(X.float(), w, torch.ones(1, 1), bipolar=True).tolist() == [[20.0]]
    assert int((W * X).sum()) == 20


def test_dynamic_map() -> None:
    """256 entries: 127 negative, 0, 128 positive; its ends and smallest values; the unsigned one."""
    signed = dynamic_map(8, signed=True)
    positive = [v for v in signed if v > 0]
    assert (len(signed), sum(v < 0 for v in signed), signed.count(0.0), len(positive)) == (256, 127, 1, 128)
    assert signed[0] == pytest.approx(-0.99296875, abs=1e-12)
    assert signed[-1] == 1.0
    assert signed[-2] == pytest.approx(0.99296875, abs=1e-12)
    assert positive[:4] == pytest.approx([5.5e-7, 3.25e-6, 7.75e-6, 2.125e-5], rel=1e-12)
    unsigned = dynamic_map(8, signed=False)
    assert (len(unsigned), min(unsigned)) == (256, 0.0)
    assert unsigned[:3] == pytest.approx([0.0, 3.25e-7, 7.75e-7], rel=1e-12)


def test_rank_1_scales_of_4_bits() -> None:
    """V = [[1e-4, 4e-4, 1e-2], [2e-3, 1e-3, 5e-3]]: scales, normalised values, codes, and what comes back."""
    v = torch.tensor([[1e-4, 4e-4, 1e-2], [2e-3, 1e-3, 5e-3]], dtype=torch.float64)
    state = quantize(v, SECOND_4)
    assert state.scales.tolist() == pytest.approx([0.01, 0.005, 0.002, 0.001, 0.01], rel=1e-6)
    by = torch.minimum(state.scales[:2, None], state.scales[None, 2:])
    assert (v / by).flatten().tolist() == pytest.approx([0.05, 0.4, 1, 1, 1, 1], rel=1e-6)
    codes = torch.stack([state.codes & 15, state.codes >> 4], 1).flatten().tolist()
    assert codes == [0, 5, 15, 15, 15, 15]
    assert [linear_map(4)[c] for c in codes] == [(c + 1) / 16 for c in codes]
    expected = [1.25e-4, 3.75e-4, 0.01, 0.002, 0.001, 0.005]
    assert dequantize(state).flatten().tolist() == pytest.approx(expected, rel=1e-6)


def test_vectors_have_blocks_of_128() -> None:
    """A 1-D second moment of 4 bits: a scale a block of 128; and 8 bits have blocks of 256."""
    assert quantize(torch.ones(300), SECOND_4).scales.shape == (3,)
    assert quantize(torch.ones(20, 30), FIRST_8).scales.shape == (3,)


def test_llm_int8() -> None:
    """Outlier column 1; codes of X and W, int32 sums, the result beside the exact product; .5 · 127 = 63.5 is 64."""
    x = torch.tensor([[0.5, -7, 1], [1.5, 0.2, -2]], dtype=torch.float64)
    w = torch.tensor([[0.1, 0.2], [0.3, -0.4], [-0.5, 0.6]], dtype=torch.float64).T.contiguous()
    codes, scales = to_int8(w)
    assert int8.outliers(x, 6.0).tolist() == [False, True, False]
    assert codes[:, [0, 2]].T.tolist() == [[25, 42], [-127, 127]]
    sums, mine, _ = int8.integers(x, codes, 6.0)
    assert mine.tolist() == [[64, 0, 127], [95, 0, -127]]
    assert sums.tolist() == [[-14529, 18817], [18504, -12139]]
    expected = [-2.5504, 3.4999938, 1.20725, -0.983143]
    for found in (int8.linear(x, codes, scales, w, None, 6.0), int8_linear(x, codes, scales, w)):
        assert found.flatten().tolist() == pytest.approx(expected, abs=6e-6)
        assert found.flatten().tolist()[1] == pytest.approx(3.4999938, abs=5e-8)
    assert (x @ w.T).flatten().tolist() == pytest.approx([-2.55, 3.5, 1.21, -0.98])
