"""Golden numbers of ALGORITHMS.md, G14: exit rules, allocation, costs of a batch."""

from __future__ import annotations

import numpy as np
import pytest

from spaces.exits import geometric
from workers.tasks.exits import batch_cost, entropy, expected_cost, scores

P = np.array([0.7, 0.2, 0.1])


def test_exit_rules() -> None:
    """p = (.7, .2, .1): entropy .801819, normalised .729847, margin .5; the entropy rule's score is 1 minus that."""
    assert float(entropy(P)) == pytest.approx(0.801819, abs=5e-7)
    assert float(entropy(P) / np.log(3)) == pytest.approx(0.729847, abs=5e-7)
    logits = [np.log(P)[None, :]]
    assert scores("probability", logits)[0, 0] == pytest.approx(0.7)
    assert scores("entropy", logits)[0, 0] == pytest.approx(1 - 0.729847, abs=5e-7)
    assert scores("margin", logits)[0, 0] == pytest.approx(0.5)


def test_patience() -> None:
    """Classes 2, 2, 1, 1, 1 by exit: one, then two in a row, then one, two, three."""
    said = [np.eye(3)[[c]] for c in (2, 2, 1, 1, 1)]
    assert scores("patience", said).tolist() == [[1, 2, 1, 2, 3]]


def test_geometric_allocation() -> None:
    """q = .5 over 5 exits: .5161, .2581, .129, .0645, .0323; q = 2 reverses it."""
    half = geometric(0.5, 5)
    assert half == pytest.approx([0.5161, 0.2581, 0.129, 0.0645, 0.0323], abs=5e-5)
    assert geometric(2, 5) == pytest.approx(half[::-1])


def test_a_batch_waits_for_its_slowest_member() -> None:
    """P = (.4, .35, .25), c = (3, 6, 10): 5.8 alone; two together .16 · 3 + .4025 · 6 + .4375 · 10 = 7.27."""
    rates, costs = (0.4, 0.35, 0.25), (3, 6, 10)
    assert batch_cost(rates, costs, 1) == pytest.approx(expected_cost(rates, costs)) == pytest.approx(5.8)
    assert batch_cost(rates, costs, 2) == pytest.approx(7.27)
    assert batch_cost(rates, costs, 10_000) == pytest.approx(10)
