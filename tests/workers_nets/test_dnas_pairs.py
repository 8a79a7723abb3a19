"""Two paths at a time: the gradient of ProxylessNAS, by hand, and what it costs."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from spaces.builtin.dnas import plan_of
from workers.dnas.modules import Candidate, Mixture, Theta
from workers.dnas.pairs import drawn
from workers.rehearse import rehearse
from workers.tasks.dnas import train

LOGITS = torch.tensor([1.0, 0.0, -1.0, 0.5])


def test_the_gradient_is_that_of_the_two_alone() -> None:
    """dL/dα_i = Σ_j dL/dg_j p_j (δ_ij - p_i) with p over the two; none for all others."""
    rng = np.random.default_rng(0)
    costs = torch.tensor([3.0, 1.0, 2.0, -4.0])
    for _ in range(20):
        logits = LOGITS.clone().requires_grad_()
        (pair,) = drawn([logits], rng)
        at = list(pair.places)
        assert len(set(at)) == 2
        assert sorted(pair.gate.tolist()) == pytest.approx([0.0, 1.0])
        (found,) = torch.autograd.grad((pair.gate * costs[at]).sum(), logits)
        p = torch.softmax(LOGITS[at], 0)
        wanted = torch.zeros(4)
        for i in range(2):
            wanted[at[i]] = sum(costs[at[j]] * p[j] * (float(i == j) - p[i]) for j in range(2))
        torch.testing.assert_close(found, wanted)


def test_pairs_are_drawn_by_their_probabilities() -> None:
    """The first of a pair as by softmax, the one that runs as by softmax over the two."""
    rng = np.random.default_rng(0)
    many = [drawn([LOGITS], rng)[0] for _ in range(4000)]
    first = Counter(pair.places[0] for pair in many)
    p = torch.softmax(LOGITS, 0).tolist()
    assert [first[i] / 4000 for i in range(4)] == pytest.approx(p, abs=0.03)
    both = [pair for pair in many if set(pair.places) == {0, 2}]
    ran = sum(pair.places[int(pair.gate.argmax())] == 0 for pair in both) / len(both)
    assert ran == pytest.approx(float(torch.softmax(LOGITS[[0, 2]], 0)[0]), abs=0.05)


def test_a_layer_without_a_choice_and_one_that_has_chosen() -> None:
    """One candidate runs alone; a candidate whose probability is 0 in floats can still be drawn."""
    rng = np.random.default_rng(0)
    alone, sure = drawn([torch.zeros(1), torch.tensor([0.0, -1e9, -1e9])], rng)
    assert alone.places == (0,)
    assert alone.gate.tolist() == [1.0]
    assert len(sure.places) == 2
    assert sure.places[int(sure.gate.argmax())] == 0


def test_two_candidates_of_a_layer_are_computed() -> None:
    """No more than two run, and the answer is that of the path whose gates are 1."""
    made = plan_of({"layers": 3, "candidates": ["k3e1", "k3e2", "k3e3", "k5e1"]}, {}).layout
    net, theta = Mixture(made, 0).eval(), Theta(made)
    ran: list[str] = []
    for n, layer in enumerate(net.layers):
        for i, one in enumerate(layer):
            assert isinstance(one, Candidate)
            one.register_forward_hook(lambda *_, name=f"{n}.{i}": ran.append(name))
    pairs = drawn(theta.layers, np.random.default_rng(3))
    x = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    answer = net.pairs(x, pairs)
    assert sorted(ran) == sorted(f"{n}.{i}" for n, pair in enumerate(pairs) for i in pair.places)
    chosen = theta.named(pair.places[int(pair.gate.argmax())] for pair in pairs)
    torch.testing.assert_close(answer, net.path(chosen)(x))


def test_a_resumed_search_goes_on_bit_for_bit() -> None:
    config = {"width": 8, "batch_size": 16, "theta_lr": 0.05, "optimizer": {"name": "sgd", "lr": 0.05}}
    options = {"data": "wine", "masks": "two", "loss": "proxyless-add", "layers": 2}
    said = {"kind": "dnas", "options": options, "objectives": ["val_error"]}
    whole = rehearse(train, config, until=4, **said)
    part = rehearse(train, config, until=2, **said)
    rest = rehearse(train, config, until=4, resume=part, **said)
    names = ("train_loss", "entropy")
    both = [*part.reports, *rest.reports]
    assert [[r.metrics[n] for n in names] for r in both] == [[r.metrics[n] for n in names] for r in whole.reports]
    assert whole.reports[-1].metrics["entropy"] < whole.reports[0].metrics["entropy"]
