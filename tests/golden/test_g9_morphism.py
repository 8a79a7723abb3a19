"""G9 (ALGORITHMS 9.2): Net2Wider on the golden two-layer network keeps its answer."""

from __future__ import annotations

import torch

from workers.nets.morph import widened


def test_the_wider_network_answers_as_before() -> None:
    """W1 = [[1, 2], [3, -1]], W2 = [[2, -4]], ReLU, x = (1, .5): y = -6, and with g = (0, 1, 1) still exactly -6."""
    first, second = torch.tensor([[1.0, 2.0], [3.0, -1.0]]), torch.tensor([[2.0, -4.0]])
    x = torch.tensor([1.0, 0.5])
    assert (second @ torch.relu(first @ x)).item() == -6.0
    wide, reader = widened(first, second, (0, 1, 1))
    assert wide.tolist() == [[1, 2], [3, -1], [3, -1]]
    assert reader.tolist() == [[2, -2, -2]]
    assert (reader @ torch.relu(wide @ x)).item() == -6.0
