"""Optimizers over packed moments: what they keep, what a checkpoint holds, and that they learn as 32 bits do."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

from kernels.blockwise_state import SMALLEST
from workers.checkpoints import from_bytes, to_bytes
from workers.optimizers import Optimizers, Roles, build
from workers.optimizers.packed import KINDS

EACH = pytest.mark.parametrize("name", sorted(KINDS))
BYTES = {"blockwise_adam8": 2.0, "blockwise_adam4": 1.0, "blockwise_lion8": 1.0}
"""Of codes, a weight."""
SHAPES = [(0,), (1,), (37,), (4095,), (4096,), (4097,), (64, 65), (5, 999), (16, 8, 7, 7), (3, 5)]


def fresh(name: str, dtype: torch.dtype = torch.float32) -> tuple[list[nn.Parameter], Optimizers]:
    g = torch.Generator().manual_seed(1)
    params = [nn.Parameter(torch.randn(s, generator=g).to(dtype)) for s in SHAPES]
    return params, build(name, Roles.of([(f"blocks.{i}", p) for i, p in enumerate(params)]), {"lr": 0.01})


def go(params: list[nn.Parameter], optimizer: Optimizers, steps: range) -> None:
    """Steps of gradients that their number seeds; the parameter number 5 has one at every second step only."""
    for step in steps:
        g = torch.Generator().manual_seed(step)
        for i, p in enumerate(params):
            p.grad = torch.randn(p.shape, generator=g).to(p.dtype)
            if i == 5 and step % 2:
                p.grad = None
        optimizer.step()


@EACH
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_interrupted_is_uninterrupted_at_every_size(name: str, dtype: torch.dtype) -> None:
    """Of 0, 1, 4,095, 4,096 and odd numbers of values, vectors and matrices: 3 steps, a checkpoint file, 3 more are 6
    steps bit for bit, weights and states."""
    whole, optimizer = fresh(name, dtype)
    go(whole, optimizer, range(3))
    saved = to_bytes({"w": [p.detach() for p in whole], "o": optimizer.optimizers["optimizer"].state_dict()})
    go(whole, optimizer, range(3, 6))
    rest, resumed = fresh(name, dtype)
    tree = from_bytes(saved)
    with torch.no_grad():
        for p, w in zip(rest, tree["w"], strict=True):
            p.copy_(w)
    resumed.optimizers["optimizer"].load_state_dict(tree["o"])
    go(rest, resumed, range(3, 6))
    for p, q in zip(whole, rest, strict=True):
        assert torch.equal(p, q)
        mine, theirs = (o.optimizers["optimizer"].state[k] for o, k in ((optimizer, p), (resumed, q)))
        assert mine.keys() == theirs.keys()
        for key, value in mine.items():
            same = torch.equal(value, theirs[key]) if isinstance(value, torch.Tensor) else value == theirs[key]
            assert same, key


@EACH
def test_each_counts_its_own_steps(name: str) -> None:
    """A parameter without a gradient at some steps moves as it does alone, without those steps; small ones as torch's
    AdamW moves them, whose first steps depend on their number the most."""
    def run(which: list[int], steps: range) -> list[nn.Parameter]:
        params, _ = fresh(name)
        params = [params[i] for i in which]
        optimizer = build(name, Roles.of([(f"blocks.{i}", p) for i, p in enumerate(params)]), {"lr": 0.01})
        plain = [nn.Parameter(p.detach().clone()) for p in params]
        other = torch.optim.AdamW(plain, lr=0.01, weight_decay=0.0)
        for step in steps:
            for i, p, q in zip(which, params, plain, strict=True):
                p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(step))
                q.grad = p.grad.clone()
                if i in {2, 4} and step % 2:
                    p.grad = q.grad = None
            optimizer.step()
            other.step()
        for i, p, q in zip(which, params, plain, strict=True):
            if i == 2 and "adam" in name:
                torch.testing.assert_close(p.detach(), q.detach())
        return params

    together = run([2, 3, 4, 5], range(5))
    assert torch.equal(together[0], run([2], range(0, 5, 2))[0])
    assert torch.equal(together[2], run([4], range(0, 5, 2))[0])
    assert torch.equal(together[3], run([5], range(5))[0])


@EACH
def test_what_a_weight_costs(name: str) -> None:
    """From 4,096 values on: so many bytes of codes a weight, at most 4 of scales a block; below, 32 bits a moment."""
    params, optimizer = fresh(name)
    go(params, optimizer, range(1))
    moments = 1 if "lion" in name else 2
    for p in params:
        if p.grad is None:
            continue
        state = optimizer.optimizers["optimizer"].state[p]
        taken = {k: v.numel() * v.element_size() for k, v in state.items() if isinstance(v, torch.Tensor)}
        if p.numel() < SMALLEST:
            assert sum(taken.values()) == 4 * moments * p.numel()
            continue
        codes = sum(v for k, v in taken.items() if not k.endswith("scales"))
        assert codes - BYTES[name] * p.numel() in {0, 0.5, 1.0}  # an odd number of 4 bits fills up its last byte
        rows = (p.shape[0] + p.numel() // p.shape[0]) if p.dim() > 1 else 0
        assert sum(taken.values()) - codes <= 4 * (moments * -(-p.numel() // 128) + rows)


@EACH
def test_a_step_takes_no_closure(name: str) -> None:
    """As ours in general: gradients first."""
    _, optimizer = fresh(name)
    with pytest.raises(ValueError, match="take no closure"):
        optimizer.optimizers["optimizer"].step(lambda: 0.0)


def learn(name: str, hyper: dict[str, Any], seed: int) -> tuple[float, float]:
    """(cross-entropy on the training set, error on the rest) of digits after 8 epochs of a network of 17,000 weights,
    of which all but biases and the last layer are packed."""
    x, y = load_digits(return_X_y=True)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    data, labels = torch.tensor(x, dtype=torch.float32)[order] / 16, torch.tensor(y)[order]
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = build(name, Roles.of(net.named_parameters()), hyper)
    for _ in range(8):
        for i in torch.randperm(1347).split(64):
            optimizer.zero_grad()
            optimizer.backward(functional.cross_entropy(net(data[i]), labels[i]))
            optimizer.step()
    with torch.no_grad():
        loss = functional.cross_entropy(net(data[:1347]), labels[:1347])
        return float(loss), float((net(data[1347:]).argmax(1) != labels[1347:]).float().mean())


@pytest.mark.parametrize(("name", "whole", "lr"), [
    ("blockwise_adam8", "adamw", 3e-3), ("blockwise_adam4", "adamw", 3e-3), ("blockwise_lion8", "lion", 1e-3),
])  # fmt: skip
def test_digits_are_learned_as_with_32_bits(name: str, whole: str, lr: float) -> None:
    """Loss within .03 and error within 1.5 points of the optimizer that keeps 32 bits, from the same weights and
    batches (three seeds: .01 and .7 points at most), and it has learned: error below 10 %."""
    (loss, error), (other, theirs) = (learn(n, {"lr": lr}, 1) for n in (name, whole))
    assert abs(loss - other) < 0.03
    assert abs(error - theirs) <= 0.015
    assert error < 0.1
