"""How networks with several exits are trained: what a weight, a frozen backbone, equilibrium and distillation do."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

from spaces.exits import WEIGHTS, exit_training, loss_weights
from spaces.nets import network
from workers import data as datasets
from workers.nets.modules import Net
from workers.rehearse import rehearse
from workers.tasks.classify import evaluate, optimizer_of, run_epoch, train
from workers.tasks.exit_losses import SOFTNESS, backward, loss_of, mean_loss

CONFIG: dict[str, Any] = {"width": 4, "depth": 3, "exits": [0, 1]}


def gradients(net: Net, exits: tuple[int, ...]) -> list[torch.Tensor]:
    """Gradients of each block's weights of Σ CE_k over some exits, with batch norms as in evaluation."""
    torch.manual_seed(0)
    x, y = torch.rand(16, 1, 8, 8), torch.arange(16) % 4
    net.eval().zero_grad()
    logits = net(x)
    torch.autograd.backward(sum(functional.cross_entropy(logits[k], y) for k in exits))
    found = [net.get_parameter(f"blocks.{i}.weight.matrix").grad for i in range(3)]
    return [torch.zeros(1) if g is None else g.clone() for g in found]


def same(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b.expand_as(a), rtol=1e-4, atol=1e-7)


def test_equilibrium_is_the_mean_over_the_exits_behind() -> None:
    """The gradient of block i is the mean of what each exit from i on sends back, not the sum; logits stay."""
    spec = network(CONFIG, (1, 8, 8), 4)
    joint, even = Net(spec, 1), Net(spec, 1, "equilibrium")
    each = [gradients(joint, (k,)) for k in range(3)]
    together = gradients(even, (0, 1, 2))
    for i in range(3):
        same(together[i], sum(each[k][i] for k in range(i, 3)) / (3 - i))
    x = torch.rand(3, 1, 8, 8)
    assert all(torch.equal(a, b) for a, b in zip(joint(x), even(x), strict=True))


def test_frozen_blocks_learn_from_the_last_exit_alone() -> None:
    """Early exits have gradients of their own and send none to the blocks."""
    spec = network(CONFIG, (1, 8, 8), 4)
    cold = Net(spec, 1, "frozen")
    alone = gradients(Net(spec, 1), (2,))
    for got, want in zip(gradients(cold, (0, 1, 2)), alone, strict=True):
        same(got, want)
    assert cold.get_parameter("heads.0.weight.matrix").grad is not None


def test_a_frozen_backbone_ends_as_a_network_without_early_exits_would() -> None:
    """Trained with early exits that change nothing, the blocks of a network end at the same weights, bit by bit, as
    with the early heads' share of the loss left out."""
    spec = network(CONFIG, (1, 8, 8), 4)
    ends = []
    for backbone, exits in (("frozen", (0, 1, 2)), ("joint", (2,))):
        net = Net(spec, 1, backbone).train()
        step = torch.optim.SGD(net.parameters(), lr=0.1)
        torch.manual_seed(0)
        for _ in range(3):
            x, y = torch.rand(16, 1, 8, 8), torch.randint(4, (16,))
            logits = net(x)
            step.zero_grad()
            torch.autograd.backward(sum(functional.cross_entropy(logits[k], y) for k in exits))
            step.step()
        ends.append([p.detach().clone() for n, p in net.named_parameters() if n.startswith("blocks")])
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_weigh_the_cross_entropies(name: str) -> None:
    """The loss is Σ w_k CE_k; uniform is, bit by bit, the mean that it always was."""
    logits, y = list(torch.randn(3, 8, 4, generator=torch.Generator().manual_seed(0))), torch.arange(8) % 4
    loss = loss_of(exit_training({"exit_weights": name}))
    parts = [functional.cross_entropy(z, y) for z in logits]
    assert float(loss(logits, y)) == pytest.approx(
        sum(w * float(p) for w, p in zip(loss_weights(name, 3), parts, strict=True)), rel=1e-5
    )
    assert (loss is mean_loss) == (name == "uniform")


def test_distillation_by_hand() -> None:
    """a = .4: early exits lose .6 CE + .4 T² KL; the last one loses CE, and gets no gradient from the early ones."""
    g = torch.Generator().manual_seed(0)
    logits, y = [torch.randn(8, 4, generator=g, requires_grad=True) for _ in range(2)], torch.arange(8) % 4
    loss = loss_of(exit_training({"exit_distill": 0.4}))(logits, y)
    q = functional.softmax(logits[1] / SOFTNESS, dim=1)
    p = functional.softmax(logits[0] / SOFTNESS, dim=1)
    told = (q * (q.log() - p.log())).sum(dim=1).mean()
    ce = [functional.cross_entropy(z, y) for z in logits]
    torch.testing.assert_close(loss, (0.6 * ce[0] + 0.4 * SOFTNESS**2 * told + ce[1]) / 2)
    torch.autograd.backward(loss)
    (alone,) = torch.autograd.grad(functional.cross_entropy(logits[1], y) / 2, [logits[1]])
    assert logits[1].grad is not None
    torch.testing.assert_close(logits[1].grad, alone)


def test_what_reaches_the_blocks() -> None:
    """`frozen` wins over `equilibrium`, which is the weights' own."""
    assert backward(exit_training({})) == "joint"
    assert backward(exit_training({"exit_weights": "equilibrium"})) == "equilibrium"
    assert backward(exit_training({"exit_weights": "equilibrium", "exit_backbone": "frozen"})) == "frozen"


def test_points_are_chosen_by_the_cost_that_is_given() -> None:
    """Measured costs take the place of MACs, where there is one an exit."""
    net, data = Net(network(CONFIG, (1, 8, 8), 10), 0), datasets.load({})
    run_epoch(net, optimizer_of(net, CONFIG), data.train, 64, 0, 1)
    macs = [float(sum(layer.macs for layer in net.spec.prefix(k))) for k in range(3)]
    given = ((), tuple(macs), (1.0, 1.01, 9.0), (5.0,))
    points = {costs: evaluate(net, data.val, "margin", costs)[1] for costs in given}
    assert points[()] == points[tuple(macs)] == points[5.0,]
    assert points[()] != points[1.0, 1.01, 9.0]


@pytest.mark.parametrize("said", [
    {"exit_weights": "equilibrium", "exit_head": 8, "exit_rule": "entropy", "bits": [8, 32, 4]},
    {"exit_weights": "branchynet", "exit_distill": 0.5, "exit_backbone": "frozen", "exit_rule": "patience"},
])  # fmt: skip
def test_trials_with_every_option_train_and_resume(said: dict[str, Any]) -> None:
    """Two epochs and one more are three, bit by bit; points carry the rule; the first and the last exit learn."""
    config = {**CONFIG, "width": 6, "optimizer": {"name": "adamw", "lr": 1e-2}, **said}
    whole = rehearse(train, config, until=3, kind="classify")
    half = rehearse(train, config, until=2, kind="classify")
    rest = rehearse(train, config, until=3, kind="classify", resume=half)
    assert [(r.metrics, r.points) for r in rest.reports] == [(r.metrics, r.points) for r in whole.reports[2:]]
    assert {p["rule"] for p in whole.reports[-1].points} == {said["exit_rule"]}
    assert whole.reports[-1].metrics["val_error"] < whole.reports[0].metrics["val_error"]
    assert whole.reports[-1].points[0]["val_error"] < whole.reports[0].points[0]["val_error"]
