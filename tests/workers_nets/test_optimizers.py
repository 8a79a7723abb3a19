"""Optimizers: built from their own hyperparameters, each parameter where it belongs, state that survives a resume."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn import functional

from spaces.errors import SpaceError
from spaces.nets import OPTIMIZERS, network
from workers.nets.modules import Net
from workers.optimizers import BUILDERS, Optimizers, Roles, build

CONFIG = {"width": 4, "depth": 2, "bits": [4, 32], "exits": [0]}
GOOD = {"sgd": 0.05, "adamw": 0.01, "lion": 0.002, "adan": 0.01, "muon": 0.02}


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(5)
    x = torch.rand(48, 1, 8, 8, generator=g)
    return x, (x.flatten(1).mean(1) > 0.5).long()


def step(net: Net, optimizer: Optimizers, times: int) -> float:
    x, y = batch()
    loss = torch.zeros(())
    for _ in range(times):
        loss = torch.stack([functional.cross_entropy(o, y) for o in net(x)]).mean()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    return float(loss.detach())


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_each_learns(name: str) -> None:
    """From the names of `spaces.nets.OPTIMIZERS`: the loss of a quantized network falls by a third in 30 steps."""
    assert set(BUILDERS) == set(OPTIMIZERS)
    net = Net(network(CONFIG, (1, 8, 8), 2), 0)
    optimizer = build(name, Roles.of(net.named_parameters()), {"name": name, "lr": GOOD[name]})
    first = step(net, optimizer, 1)
    assert step(net, optimizer, 30) < first * 2 / 3


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_state_is_complete(name: str) -> None:
    """Saved after 3 steps and restored in new objects, 3 more steps give the parameters of 6 steps, bit for bit."""
    def fresh() -> tuple[Net, Optimizers]:
        net = Net(network(CONFIG, (1, 8, 8), 2), 0)
        return net, build(name, Roles.of(net.named_parameters()), {"lr": GOOD[name]})

    net, optimizer = fresh()
    step(net, optimizer, 3)
    saved = copy.deepcopy((net.state_dict(), {k: p.state_dict() for k, p in optimizer.parts.items()}))
    step(net, optimizer, 3)
    other, resumed = fresh()
    other.load_state_dict(saved[0])
    for key, part in resumed.parts.items():
        part.load_state_dict(saved[1][key])
    step(other, resumed, 3)
    for key, value in net.state_dict().items():
        assert torch.equal(value, other.state_dict()[key]), key


def test_every_parameter_is_optimized_once_and_only_weights_decay() -> None:
    """Muon gets the blocks' matrices, AdamW heads and the rest; scales, norms and biases have no weight decay."""
    net = Net(network(CONFIG, (1, 8, 8), 2), 0)
    names = {id(p): n for n, p in net.named_parameters()}
    for name in OPTIMIZERS:
        optimizer = build(name, Roles.of(net.named_parameters()), {"weight_decay": 0.05})
        seen: list[int] = []
        for key, part in optimizer.parts.items():
            for group in part.param_groups:
                for p in group["params"]:
                    seen.append(id(p))
                    assert (group["weight_decay"] == 0.05) == names[id(p)].endswith("matrix")
                    if name == "muon":
                        assert (key == "muon") == (names[id(p)] in {"blocks.0.weight.matrix", "blocks.1.weight.matrix"})
        assert sorted(seen) == sorted(names)


@pytest.mark.parametrize(("name", "hyper", "text"), [
    ("adamx", {}, "does not exist: use one of adamw, adan"),
    ("sgd", {"beta1": 0.9}, "no hyperparameter beta1"),
    ("adamw", {"lr": -1.0}, "at least 0"),
    ("adamw", {"lr": float("nan")}, "finite"),
])  # fmt: skip
def test_odd_hyperparameters(name: str, hyper: dict[str, float], text: str) -> None:
    """A name, a hyperparameter or a value that cannot be is the user's to mend."""
    with pytest.raises(SpaceError, match=text):
        build(name, Roles((), (), ()), hyper)


def test_sgd_without_momentum() -> None:
    """Momentum 0 is in the range of a search: it turns Nesterov off instead of failing."""
    net = Net(network(CONFIG, (1, 8, 8), 2), 0)
    step(net, build("sgd", Roles.of(net.named_parameters()), {"lr": 0.1, "momentum": 0.0}), 1)
