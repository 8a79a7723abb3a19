"""Zero-cost proxies: each by its definition on a network that can be computed by hand."""

from __future__ import annotations

import io
import json
import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from spaces.nets import network
from workers import proxies
from workers.data import Part
from workers.nets.modules import Net
from workers.proxies import nwot, saliency, scores, synflow

VECTOR = network({"width": 3, "depth": 1}, (4,), 2)


def batch(n: int = 16) -> Part:
    g = torch.Generator().manual_seed(0)
    return Part(torch.randn(n, 4, generator=g), torch.randint(0, 2, (n,), generator=g))


def test_synflow_by_hand() -> None:
    """One block and a head: R = |W2| relu(g |W1| 1), each matrix carries the flow R, so the score is log 2R."""
    net = Net(VECTOR, 0)
    first, last = (p.detach().double().abs() for p in net.parameters() if p.dim() == 2)
    gain = 1 / math.sqrt(1 + 1e-5)
    answer = float((last @ (gain * first @ torch.ones(4, dtype=torch.float64))).sum())
    assert synflow(Net(VECTOR, 0)) == pytest.approx(math.log(2 * answer), rel=1e-9)


def test_saliency_by_hand() -> None:
    """grad_norm is the norm of all weight gradients together, snip the sum of |w g|."""
    part = batch()
    net = Net(VECTOR, 1).train()
    loss = functional.cross_entropy(net(part.x)[-1], part.y)
    torch.autograd.backward(loss)
    pairs = [(p.detach(), p.grad) for p in net.parameters() if p.dim() == 2]
    norm, snip = saliency(Net(VECTOR, 1), part)
    assert norm == pytest.approx(math.sqrt(sum(float((g**2).sum()) for _, g in pairs if g is not None)))
    assert snip == pytest.approx(sum(float((w * g).abs().sum()) for w, g in pairs if g is not None))


def test_nwot_by_hand() -> None:
    """The kernel counts the ReLUs in which two samples agree, on or off; two equal samples make it singular."""
    wide = network({"width": 64, "depth": 1}, (4,), 2)
    part, net = batch(5), Net(wide, 2)
    with torch.no_grad():
        z = net.blocks[0].train()(part.x)
    code = (z > 0).numpy().astype(int)
    kernel = np.array([[(a == b).sum() for b in code] for a in code], dtype=float)
    sign, value = np.linalg.slogdet(kernel)
    assert sign == 1
    assert nwot(Net(wide, 2), part.x) == pytest.approx(value)
    twice = torch.cat([part.x, part.x])
    assert not nwot(Net(wide, 0), twice) > -20  # two equal rows: no determinant, or one of rounding alone


def test_scores_of_any_config_are_finite_and_those_of_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """Quantized, with exits, deep: every proxy has a value; the same by JSON; macs and params are exact; a second call
    says the same."""
    configs = [{"width": 8, "depth": 1}, {"width": 6, "depth": 3, "bits": [2, 1, 8], "exits": [0]}]
    found = scores({"data": "digits"}, configs)
    assert all(math.isfinite(v) for one in found for v in one.values())
    exact = network(configs[1], (1, 8, 8), 10)
    assert (found[1]["log_macs"], found[1]["log_params"]) == (math.log(exact.macs), math.log(exact.params))
    said = io.StringIO()
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps({"options": {"data": "digits"}, "configs": configs})))
    monkeypatch.setattr("sys.stdout", said)
    assert proxies.main() == 0
    assert json.loads(said.getvalue()) == found


def test_what_cannot_be_scored_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A data set that is not there: exit code 2 and a line, no stack trace."""
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps({"options": {"data": "nothing.npz"}, "configs": [{}]})))
    assert proxies.main() == 2
    assert "nothing.npz" in capsys.readouterr().err
