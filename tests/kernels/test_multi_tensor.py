"""Steps over 32-bit states of many tensors: against float64 and torch's AdamW, the table of tensors, messages."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.multi_tensor import adamw, lion, reference
from kernels.multi_tensor.table import table
from tests.support.steps import check_multi_tensor

BOTH = pytest.mark.parametrize("of_lion", [False, True], ids=["adamw", "lion"])


@BOTH
@given(seed=st.integers(0, 2**32))
@settings(max_examples=8, deadline=None)
def test_a_step_is_the_reference(of_lion: bool, seed: int) -> None:
    """Weights and moments as float64 has them, nothing written beside them: over all sizes and shapes in one call."""
    check_multi_tensor(seed, lion=of_lion)


@BOTH
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_and_strides(of_lion: bool, dtype: torch.dtype) -> None:
    """Weights and gradients of 16 bits, and what is not contiguous."""
    check_multi_tensor(1, dtype=dtype, lion=of_lion)
    check_multi_tensor(2, crooked=True, lion=of_lion)


@BOTH
def test_the_plain_way(of_lion: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """SEARCHD_KERNELS=reference runs the reference itself."""
    monkeypatch.setenv("SEARCHD_KERNELS", "reference")
    check_multi_tensor(3, lion=of_lion)


def test_it_is_torchs_adamw() -> None:
    """The reference in float64, and the operator in it, are torch.optim.AdamW over five steps."""
    g = torch.Generator().manual_seed(2)
    p = torch.randn(5, 4, dtype=torch.float64, generator=g)
    mine, theirs = p.clone(), p.clone().requires_grad_()
    optimizer = torch.optim.AdamW([theirs], lr=0.02, betas=(0.8, 0.9), eps=1e-6, weight_decay=0.3)
    m = v = torch.zeros_like(p)
    m_own, v_own = torch.zeros_like(p), torch.zeros_like(p)
    hyper = {"lr": 0.02, "beta1": 0.8, "beta2": 0.9, "eps": 1e-6, "weight_decay": 0.3}
    for step in range(1, 6):
        theirs.grad = torch.randn(5, 4, dtype=torch.float64, generator=g)
        p, m, v = reference.adam(p, theirs.grad, m, v, step, **hyper)
        adamw([mine], [theirs.grad], [m_own], [v_own], step, **hyper)
        optimizer.step()
        torch.testing.assert_close(p, theirs.detach(), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(mine, theirs.detach(), rtol=1e-12, atol=1e-12)


def test_the_table() -> None:
    """A row a tensor (addresses, then sizes), a chunk a program in the order of the tensors; the same tensors give the
    same table; an address that is no multiple of 16 bytes is said."""
    x = torch.zeros(64)
    columns = [[x[0:8], x[8:24], x[24:56]]]
    sizes = [8, 16, 32]
    made = table(columns, [sizes], [1, 0, 3], x.device)
    assert made.rows.tolist() == [[t.data_ptr(), n] for t, n in zip(columns[0], sizes, strict=True)]
    assert made.chunks.tolist() == [[0, 0], [2, 0], [2, 1], [2, 2]]
    assert made.aligned
    assert table(columns, [sizes], [1, 0, 3], x.device) is made
    assert not table([[x[1:]]], [[63]], [1], x.device).aligned


def test_opcheck() -> None:
    """The operators change what their schemas say and nothing else (torch.library.opcheck)."""
    def some() -> list[torch.Tensor]:
        return [torch.rand(5, 6), torch.rand(3)]

    ops, numbers = torch.ops.searchd, (0.1, 0.9, 0.99, 1e-8, 0.1)
    torch.library.opcheck(ops.multi_tensor_adamw.default, (some(), some(), some(), some(), 1, *numbers))
    torch.library.opcheck(ops.multi_tensor_lion.default, (some(), some(), some(), 0.1, 0.9, 0.99, 0.1))


def test_what_does_not_fit_is_told() -> None:
    """States of another shape or dtype, gradients of integers, other devices, a step 0."""
    p = torch.zeros(2, 3)
    with pytest.raises(ValueError, match=r"first moment is \[6\] of torch.float32.*begin with zeros"):
        lion([p], [p], [torch.zeros(6)], lr=0.1)
    with pytest.raises(ValueError, match=r"second moment is \[2, 3\] of torch.bfloat16"):
        adamw([p], [p], [p], [p.bfloat16()], 1, lr=0.1)
    with pytest.raises(ValueError, match="has to be of floats"):
        lion([p], [p.int()], [p], lr=0.1)
    with pytest.raises(ValueError, match="move them to the weights'"):
        lion([p], [p.to("meta")], [p], lr=0.1)
    with pytest.raises(ValueError, match="the first step is 1"):
        adamw([p], [p], [p], [p], 0, lr=0.1)
    lion([], [], [], lr=0.1)
