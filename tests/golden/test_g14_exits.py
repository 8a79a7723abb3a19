"""Golden numbers of ALGORITHMS.md, G14: exit rules, allocation, costs of a batch, SkipDecode, unified layer skipping."""

from __future__ import annotations

import numpy as np
import pytest

from spaces.exits import geometric
from spaces.skipping import active_layers, skip_decode, speed_up, unified_skipping
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


def test_skip_decode() -> None:
    """T = 9, max = 24, min = 8: 24, 22, …, 8, mean 16, so at most 1.5 times as fast; warm layers first, top ones last."""
    depths = [skip_decode(t, 9, 24, 8) for t in range(9)]
    assert depths == [24, 22, 20, 18, 16, 14, 12, 10, 8]
    assert speed_up(9, 24, 8) == pytest.approx(1.5)
    assert active_layers(8, 24, 2) == (0, 1, 18, 19, 20, 21, 22, 23)
    assert active_layers(24, 24, 2) == tuple(range(24))


def test_unified_layer_skipping() -> None:
    """L = 24, s = 3 keeps 0, 3, 7, 10, 13, 16, 20, 23; L = 12, s = 1.5 keeps 0, 2, 3, 5, 6, 8, 9, 11."""
    assert unified_skipping(24, 3) == (0, 3, 7, 10, 13, 16, 20, 23)
    assert unified_skipping(12, 1.5) == (0, 2, 3, 5, 6, 8, 9, 11)
