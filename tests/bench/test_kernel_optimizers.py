"""The table of optimizer steps: bytes by hand, a gate that a wrong step does not pass, rows of all that is here."""

from __future__ import annotations

import pytest
import torch

from bench.kernels import optimizers
from kernels.multi_tensor import eager


def test_bytes_by_hand() -> None:
    """128 × 64 weights: 12 bytes each, and of states twice: 8 bits (2 bytes, 2 · 32 scales), 4 bits (1 byte, 64 and 192
    scales), Lion's 8; torch's two moments 16. A small one keeps 32 bits."""
    p = [torch.zeros(128, 64)]
    n = 8192
    assert optimizers.moved(p, "torch") == 28 * n
    assert optimizers.moved(p, "blockwise_adam8") == 12 * n + 2 * (2 * n + 4 * 64)
    assert optimizers.moved(p, "blockwise_adam4") == 12 * n + 2 * (n + 4 * (64 + 192))
    assert optimizers.moved(p, "blockwise_lion8") == 12 * n + 2 * (n + 4 * 32)
    assert optimizers.moved([torch.zeros(100)], "blockwise_lion8") == 20 * 100


def test_a_wrong_step_gives_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gate first: with weights that move twice as far there is a message instead of a row."""
    cpu = torch.device("cpu")
    assert all(optimizers.gate(name, cpu) is None for name in optimizers.OURS)
    right = eager.adam_
    monkeypatch.setattr("kernels.blockwise_adam.adam_", lambda *a: right(*a[:5], 2 * a[5], *a[6:]))
    with pytest.raises(RuntimeError, match="no row, for the first step of blockwise_adam8"):
        next(optimizers.rows(cpu, [(64, 64)], times=1))


def test_rows_of_all_that_is_here() -> None:
    """Ours, torch's and torchao's over one small matrix; each with its time and who ran it."""
    found = list(optimizers.rows("cpu", [(64, 64)], times=1))
    who = {(row.op, row.who) for row in found}
    assert {("adamw8", "ours"), ("adamw4", "ours"), ("lion8", "ours"), ("adamw32", "torch fused")} <= who
    assert all(row.ms > 0 and row.share > 0 and row.weights == 4096 for row in found)
    assert {row.why for row in found if row.who == "ours"} == {"torch: the tensors are on cpu"}
