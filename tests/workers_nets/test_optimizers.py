"""Optimizers: built from their own hyperparameters, each parameter where it belongs, state that survives a resume."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from kernels.newton_schulz import newton_schulz
from spaces.errors import SpaceError
from spaces.nets import network
from spaces.optimizers import ABSENT, OPTIMIZERS
from workers.checkpoints import from_bytes, to_bytes
from workers.nets.modules import Net
from workers.optimizers import BUILDERS, Optimizers, Roles, build
from workers.optimizers.evaluation import renew_norms
from workers.rehearse import Rehearsal, rehearse
from workers.state import set_settings, settings
from workers.tasks.classify import train

CONFIG = {"width": 4, "depth": 2, "bits": [4, 32], "exits": [0]}
FLOAT = {**CONFIG, "bits": 32}
MUONS = ("muon", "normuon", "drop_muon")
GOOD: dict[str, dict[str, Any]] = {
    "adam": {"lr": 0.01}, "adamw": {"lr": 0.01}, "nadam": {"lr": 0.01}, "radam": {"lr": 0.1}, "lion": {"lr": 2e-3},
    "adabelief": {"lr": 0.01}, "adamp": {"lr": 0.01}, "adan": {"lr": 0.01}, "adopt": {"lr": 0.02},
    "laprop": {"lr": 0.01}, "ademamix": {"lr": 0.01}, "mars": {"lr": 0.01}, "came": {"lr": 0.01},
    "exadam": {"lr": 3e-3}, "grokfast_adamw": {"lr": 0.03}, "sophia": {"lr": 0.6},
    "schedule_free_adamw": {"lr": 0.02},
    "signsgd": {"lr": 2e-3}, "frugal": {"lr": 0.02}, "kron": {"lr": 0.01}, "soap": {"lr": 0.01},
    "lars": {"lr": 1.0, "trust": 0.02},
    "adamw_8bit": {"lr": 0.01}, "adamw_4bit": {"lr": 0.01}, "adamw_fp8": {"lr": 0.01}, "dog": {"reps": 1e-2},
    "ldog": {"reps": 1e-2}, "dowg": {"reps": 1e-2}, "dadapt_lion": {"d0": 1e-4}, "dadapt_sgd": {"d0": 1e-2},
    "dadapt_adagrad": {"d0": 1e-1}, "sgd": {"lr": 0.1}, "sgdp": {"lr": 0.1}, "shampoo": {"lr": 0.5},
    "blockwise_adam8": {"lr": 0.01}, "blockwise_adam4": {"lr": 0.01}, "blockwise_lion8": {"lr": 2e-3},
    "microadam": {"lr": 0.02, "density": 0.1}, "mkor": {"lr": 0.1, "frequency": 2},
}  # fmt: skip
"""What learns the small task below within 25 steps, where the defaults are too slow for it."""
EACH = pytest.mark.parametrize("name", sorted(OPTIMIZERS))


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(5)
    x = torch.rand(48, 1, 8, 8, generator=g)
    return x, (x.flatten(1).mean(1) > 0.5).long()


def make(name: str, **hyper: Any) -> tuple[Net, Optimizers]:
    net = Net(network(FLOAT if name == "sophia" else CONFIG, (1, 8, 8), 2), 0)
    return net, build(name, Roles.of(net.named_parameters()), hyper)


def step(net: nn.Module, optimizer: Optimizers, times: int) -> float:
    x, y = batch()
    loss = torch.zeros(())
    for _ in range(times):
        loss = torch.stack([functional.cross_entropy(o, y) for o in net(x)]).mean()
        optimizer.zero_grad()
        optimizer.backward(loss)
        optimizer.step()
    return float(loss.detach())


def test_the_reader_and_the_worker_know_the_same() -> None:
    """Every name of `spaces.optimizers` is built, and nothing else; none is absent too."""
    assert set(BUILDERS) == set(OPTIMIZERS)
    assert not set(ABSENT) & set(OPTIMIZERS)


@EACH
def test_each_learns(name: str) -> None:
    """The loss of a quantized network (sophia: float) falls by a tenth within 40 steps, and for three in a row.

    Some jump on their way, and where depends on the last bit of a product: the loss at one given step says nothing."""
    torch.manual_seed(0)
    net, optimizer = make(name, **GOOD.get(name, {}))
    first = step(net, optimizer, 1)
    losses = [step(net, optimizer, 1) for _ in range(40)]
    assert min(max(window) for window in zip(losses, losses[1:], losses[2:], strict=False)) < first * 0.9


def go(name: str, until: int, resume: Rehearsal | None = None, **more: Any) -> Rehearsal:
    hyper = {"name": name, **GOOD.get(name, {}), **more}
    config = {"width": 8, "depth": 2, "bits": [32, 32 if name == "sophia" else 4], "exits": [0], "batch_size": 32,
              "optimizer": hyper, "schedule": "cosine", "horizon": 4, "warmup": 0.5}  # fmt: skip
    return rehearse(train, config, until=until, kind="classify", options={"data": "wine"}, resume=resume)


@EACH
def test_interrupted_is_uninterrupted(name: str) -> None:
    """The contract of every optimizer: 2 epochs and, from the checkpoint file, a third report what 3 do, bit for
    bit; so all that it draws, averages and estimates is in the checkpoint."""
    whole, half = go(name, 3), go(name, 2)
    rest = go(name, 3, half)
    both = [(r.metrics, r.points) for r in (*half.reports, *rest.reports)]
    assert both == [(r.metrics, r.points) for r in whole.reports]
    assert all(math.isfinite(r.metrics["train_loss"]) for r in whole.reports)
    assert len({r.metrics["train_loss"] for r in whole.reports}) == 3


@pytest.mark.parametrize("name", ["sgd", "drop_muon"])
def test_filters_survive_too(name: str) -> None:
    """Noise, Grokfast's buffer and the clip: the same law, and each of them changes what is trained."""
    extra = {"noise": 0.01, "grokfast": 1.0, "grokfast_alpha": 0.9, "clip": 0.5}
    whole, half = go(name, 4, **extra), go(name, 2, **extra)
    rest = go(name, 4, half, **extra)
    assert [r.metrics for r in (*half.reports, *rest.reports)] == [r.metrics for r in whole.reports]
    losses = [go(name, 2, **{k: v for k, v in extra.items() if k != left}).reports[-1].metrics["train_loss"]
              for left in ("noise", "grokfast", "clip", "none")]  # fmt: skip
    assert len(set(losses)) == 4


@EACH
def test_every_parameter_is_optimized_once_and_only_weights_decay(name: str) -> None:
    """Muon's kin get the blocks' matrices, AdamW heads and the rest; scales, norms and biases have no weight decay."""
    net, optimizer = make(name, weight_decay=0.05)
    names = {id(p): n for n, p in net.named_parameters()}
    seen: list[int] = []
    for key, part in optimizer.optimizers.items():
        for group in part.param_groups:
            for p in group["params"]:
                seen.append(id(p))
                assert (group["weight_decay"] == 0.05) == names[id(p)].endswith("matrix")
                if name in MUONS:
                    assert (key == "muon") == (names[id(p)] in {"blocks.0.weight.matrix", "blocks.1.weight.matrix"})
    assert sorted(seen) == sorted(names)


@pytest.mark.parametrize("name", MUONS)
def test_convolutions_are_matrices_to_muon(name: str) -> None:
    """A weight [6, 3, 2, 2] moves as the matrix [6, 12] with the same gradient does, also after its memory was
    replaced; embedding and head are AdamW's."""
    torch.manual_seed(0)
    conv, embedding, head = (nn.Parameter(torch.randn(s)) for s in ((6, 3, 2, 2), (3, 4), (2, 5)))
    named = [("body.0.weight", conv), ("embedding.weight", embedding), ("head.weight", head)]
    optimizer = build(name, Roles.of(named), {})
    adamw = {id(p) for g in optimizer.optimizers["adamw"].param_groups for p in g["params"]}
    assert adamw == {id(embedding), id(head)}
    flat = nn.Parameter(conv.detach().flatten(1).clone())
    other = build(name, Roles.of([("body.0.weight", flat)]), {})
    for i in range(3):
        gradient = torch.randn(6, 3, 2, 2)
        conv.grad, flat.grad = gradient.clone(), gradient.clone().flatten(1)
        if i == 1:
            conv.data = conv.detach().clone()
        optimizer.step()
        other.step()
        assert torch.equal(flat, conv.flatten(1))
    assert not torch.equal(conv, torch.zeros_like(conv))


PACKED = ["adamw_8bit", "adamw_4bit", "adamw_fp8", "blockwise_adam8", "blockwise_adam4", "blockwise_lion8"]


@pytest.mark.parametrize("name", PACKED)
def test_packed_moments_stay_packed(name: str) -> None:
    """Of a weight of 8,192 values the moments in a checkpoint take a byte a value or half of one, not four; loaded,
    they go on bit for bit."""
    def fresh() -> tuple[nn.Parameter, Optimizers]:
        w = nn.Parameter(torch.ones(64, 128))
        return w, build(name, Roles.of([("blocks.0", w)]), {"lr": 0.1})

    def run(w: nn.Parameter, optimizer: Optimizers, steps: range) -> None:
        for i in steps:
            w.grad = torch.randn(64, 128, generator=torch.Generator().manual_seed(i))
            optimizer.step()

    w, optimizer = fresh()
    run(w, optimizer, range(3))
    saved = to_bytes({"weight": w.detach(), "part": optimizer.optimizers["optimizer"].state_dict()})
    assert len(saved) < 4 * w.numel() + 2.5 * w.numel()
    run(w, optimizer, range(3, 6))
    other, resumed = fresh()
    tree = from_bytes(saved)
    with torch.no_grad():
        other.copy_(tree["weight"])
    resumed.optimizers["optimizer"].load_state_dict(tree["part"])
    run(other, resumed, range(3, 6))
    assert torch.equal(other, w)


def test_drop_muon_moves_a_suffix_of_the_layers() -> None:
    """At each step some last layers move and the first ones do not, each beginning about equally often."""
    torch.manual_seed(1)
    layers = [nn.Parameter(torch.randn(3, 3)) for _ in range(3)]
    optimizer = build("drop_muon", Roles.of([(f"blocks.{i}", p) for i, p in enumerate(layers)]), {"weight_decay": 0.1})
    begins = []
    for _ in range(90):
        before = [p.detach().clone() for p in layers]
        for p in layers:
            p.grad = torch.randn(3, 3)
        optimizer.step()
        moved = [not torch.equal(b, p) for b, p in zip(before, layers, strict=True)]
        assert moved == sorted(moved)
        begins.append(moved.index(True))
        assert all(p.grad is not None for p in layers)
    assert all(20 <= begins.count(i) <= 40 for i in range(3))


def test_frugal_keeps_moments_of_a_share_of_the_rows() -> None:
    """A quarter of the rows has moments and moves as AdamW's do at first; the others move by sign_scale · lr; after
    `period` steps other rows have their turn; a head has its moments always."""
    torch.manual_seed(0)
    w, head = nn.Parameter(torch.zeros(16, 4)), nn.Parameter(torch.zeros(2, 4))
    optimizer = build("frugal", Roles.of([("blocks.0", w), ("heads.0", head)]),
                      {"lr": 0.1, "sign_scale": 0.5, "period": 3, "density": 0.25})  # fmt: skip
    frugal = optimizer.optimizers["optimizer"]
    rows = []
    for _ in range(6):
        before = w.detach().clone()
        w.grad, head.grad = torch.full((16, 4), 0.3), torch.full((2, 4), 0.3)
        optimizer.step()
        state = frugal.state[w]
        rows.append(tuple(state["rows"]))
        assert state["m"].shape == (4, 4)
        change = (before - w.detach()).mean(1)
        expected = torch.full((16,), 0.05)
        expected[state["rows"]] = 0.1  # a constant gradient: m / sqrt(v) is 1
        torch.testing.assert_close(change, expected, rtol=1e-3, atol=1e-3)
    assert rows[0] == rows[1] == rows[2] != rows[3] == rows[5]
    assert frugal.state[head]["rows"] == [0, 1]


def test_batches_grow_by_the_norm_test() -> None:
    """`adadagrad`: epoch after epoch the batch is as large or larger, never above `max_batch`; others keep theirs."""
    net, optimizer = make("adadagrad", theta=0.2, max_batch=40)
    sizes = []
    for _ in range(3):
        sizes.append(optimizer.batch(16))
        x, y = batch()
        for part in torch.arange(48).split(12):
            loss = functional.cross_entropy(net(x[part])[-1], y[part])
            optimizer.zero_grad()
            optimizer.backward(loss)
            optimizer.step()
    assert sizes[0] == 16
    assert sizes == sorted(sizes)
    assert 16 < sizes[-1] <= 40
    assert make("adamw")[1].batch(16) == 16


@pytest.mark.parametrize("name", ["schedule_free_sgd", "schedule_free_adamw", "dog", "ldog", "dowg"])
def test_averages_are_evaluated(name: str) -> None:
    """`eval` lays the averages over the parameters, twice is once, and `train` takes them off again."""
    net, optimizer = make(name)
    step(net, optimizer, 5)
    trained = [p.detach().clone() for p in net.parameters()]
    optimizer.eval()
    averaged = [p.detach().clone() for p in net.parameters()]
    optimizer.eval()
    assert all(torch.equal(a, p) for a, p in zip(averaged, net.parameters(), strict=True))
    assert not all(torch.equal(a, t) for a, t in zip(averaged, trained, strict=True))
    optimizer.train()
    for a, p in zip(trained, net.parameters(), strict=True):
        torch.testing.assert_close(p.detach(), a, rtol=1e-4, atol=1e-6)
    assert optimizer.averages
    assert not make("adamw")[1].averages


def test_norms_are_those_of_the_weights_that_are_evaluated() -> None:
    """After `renew_norms` on a sample, a batch norm's mean and variance are the sample's; its momentum is as before."""
    net = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5))
    x = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    renew_norms(net, x)
    out, norm = net[0](x).detach(), net[1]
    torch.testing.assert_close(norm.running_mean, out.mean(0), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(norm.running_var, out.var(0), rtol=2e-2, atol=1e-3)
    assert norm.momentum == 0.1
    assert not norm.training


SCHEDULED = {"lr": (0.01, 0.02), "weight_decay": (0.05, 0.5), "momentum": (0.6, 0.8), "beta1": (0.6, 0.8)}


@EACH
def test_hyperparameters_may_change_while_it_trains(name: str) -> None:
    """A schedule of lr, weight decay, momentum or beta1: after `follow` the groups are those of an optimizer that was
    built so, moments and whatever training estimates are kept, and a decay counts from the new learning rate."""
    takes = {key: both for key, both in SCHEDULED.items() if key in OPTIMIZERS[name]}
    first, then = ({key: both[i] for key, both in takes.items()} for i in (0, 1))
    net, optimizer = make(name, **first)
    step(net, optimizer, 3)
    kept = [{k: g[k] for k in ("d", "weight_sum", "train_mode") if k in g and name != "adafactor"}
            for part in optimizer.optimizers.values() for g in part.param_groups]  # fmt: skip
    optimizer.follow(build(name, Roles.of(net.named_parameters()), then))
    made = build(name, Roles.of(net.named_parameters()), then)
    groups = [g for part in optimizer.optimizers.values() for g in part.param_groups]
    for group, wanted, before in zip(
        groups, [g for part in made.optimizers.values() for g in part.param_groups], kept, strict=True
    ):
        for key in {"lr", "weight_decay", "momentum", "betas"} & set(group):
            assert group[key] == wanted[key]
        assert {k: group[k] for k in before} == before
    optimizer.scale(0.5)
    for group, wanted in zip(groups, [g for p in made.optimizers.values() for g in p.param_groups], strict=True):
        assert float(group["lr"]) == pytest.approx(0.5 * float(wanted["lr"]))
    assert math.isfinite(step(net, optimizer, 2))


@pytest.mark.parametrize("name", ["prodigy", "schedule_free_adamw", "dadapt_adagrad"])
def test_a_copy_keeps_what_training_estimated(name: str) -> None:
    """Who takes over another's weights (population-based training) has its own rate and the other's estimates."""
    net, optimizer = make(name, lr=0.5)
    step(net, optimizer, 10)
    optimizer.eval()
    saved = optimizer.optimizers["optimizer"].state_dict()
    part = make(name, lr=0.7)[1].optimizers["optimizer"]
    own = settings(part)
    part.load_state_dict(saved)
    set_settings(part, own)
    group, theirs = part.param_groups[0], saved["param_groups"][0]
    assert group["lr"] == 0.7
    for key in {"d", "d_max", "weight_sum", "train_mode", "k", "step"} & set(theirs):
        assert group[key] == theirs[key]


def test_a_diverged_matrix_is_no_crash() -> None:
    """Decompositions fail on what is not finite: the weights become NaN, so that the trial ends as diverged."""
    w = nn.Parameter(torch.ones(3, 3))
    optimizer = build("shampoo", Roles.of([("blocks.0", w)]), {})
    w.grad = torch.full((3, 3), math.nan)
    optimizer.step()
    assert torch.isnan(w).all()


def test_sophia_needs_the_graph_of_its_gradients() -> None:
    """A loop that calls backward itself is told what to call instead."""
    net, optimizer = make("sophia")
    x, y = batch()
    torch.autograd.backward(functional.cross_entropy(net(x)[-1], y))
    with pytest.raises(SpaceError, match=r"call optimizer.backward\(loss\)"):
        optimizer.step()


@pytest.mark.parametrize(("name", "hyper", "text"), [
    ("adamx", {}, "there is no optimizer 'adamx': did you mean 'adam"),
    ("Scalable-Shampoo", {}, "no checkpoint can hold: use shampoo"),
    ("demo", {}, "between processes"),
    ("sgd", {"beta1": 0.9}, "no hyperparameter beta1"),
    ("adamw", {"lr": -1.0}, "at least 0"),
    ("adamw", {"lr": float("nan")}, "finite"),
    ("adamw", {"beta2": 1.0}, "below 1"),
    ("soap", {"frequency": 1.5}, "whole number"),
    ("sgd", {"nesterov": 2}, "true or false"),
])  # fmt: skip
def test_odd_hyperparameters(name: str, hyper: dict[str, Any], text: str) -> None:
    """A name, a hyperparameter or a value that cannot be is the user's to mend."""
    with pytest.raises(SpaceError, match=text):
        build(name, Roles((), (), ()), hyper)


def test_sgd_without_momentum() -> None:
    """Momentum 0 is in the range of a search: it turns Nesterov off instead of failing."""
    net, optimizer = make("sgd", lr=0.1, momentum=0.0)
    step(net, optimizer, 1)


def _library(name: str, hidden: list[nn.Parameter], h: dict[str, Any]) -> torch.optim.Optimizer:
    lr, momentum, decay = h["lr"], h["momentum"], h["weight_decay"]
    if name == "muon":
        return torch.optim.Muon(hidden, lr=lr, momentum=momentum, weight_decay=decay)
    from pytorch_optimizer import NorMuon

    group = {"params": hidden, "use_muon": True, "weight_decay": decay, "beta2": h["beta2"]}
    made: torch.optim.Optimizer = NorMuon([group], lr=lr, momentum=momentum)
    return made


@pytest.mark.parametrize("name", ["muon", "normuon"])
def test_our_iteration_leaves_the_libraries_steps_as_they_are(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wide, tall and square matrices, three of one shape: six steps, and states, bit for bit those of torch's Muon and
    pytorch_optimizer's NorMuon; and they are made by `kernels.newton_schulz`."""
    from workers.optimizers import matrix

    calls = []
    monkeypatch.setattr(matrix, "newton_schulz", lambda *a: calls.append(a) or newton_schulz(*a))  # type: ignore[func-returns-value]
    g = torch.Generator().manual_seed(3)
    shapes = [(6, 12), (40, 8), (16, 16), (8, 40), (40, 8), (40, 8), (1, 5)]
    ours = [nn.Parameter(torch.randn(s, generator=g)) for s in shapes]
    theirs = [nn.Parameter(p.detach().clone()) for p in ours]
    h = {"lr": 0.02, "momentum": 0.9, "weight_decay": 0.1, **({"beta2": 0.9} if name == "normuon" else {})}
    optimizer = build(name, Roles.of([(f"blocks.{i}", p) for i, p in enumerate(ours)]), h)
    other = _library(name, theirs, h)
    for _ in range(6):
        for p, q in zip(ours, theirs, strict=True):
            p.grad = torch.randn(p.shape, generator=g)
            q.grad = p.grad.clone()
        optimizer.step()
        other.step()
        assert all(torch.equal(p, q) for p, q in zip(ours, theirs, strict=True))
    for p, q in zip(ours, theirs, strict=True):
        mine, wanted = optimizer.optimizers["muon"].state[p], other.state[q]
        assert mine.keys() == wanted.keys()
        assert all(torch.equal(mine[key], wanted[key]) for key in mine)
    assert calls
