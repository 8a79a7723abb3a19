"""MKOR, M-FAC and MicroAdam against what they stand for: dense inverses, Adam; and what layers show to a tap."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from spaces.errors import SpaceError
from spaces.nets import network
from spaces.problems import StudyError
from spaces.study import Study
from workers.nets.modules import Net
from workers.optimizers import Optimizers, Roles, build
from workers.optimizers.microadam import BUCKET, pack, unpack
from workers.taps import show, tap, tap_of

CONFIG = {"width": 4, "depth": 2, "bits": 32, "exits": [0], "exit_head": 5}


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# ---------------------------------------------------------------- taps
def test_what_a_convolution_shows() -> None:
    """The mean patch over samples and places, in the order of the weight's columns, and the sum over places of what
    comes back; two forwards are their mean and their sum; `take` begins anew."""
    weight = nn.Parameter(draw(0, 5, 27))
    tap(weight)
    patches, sums = [], []
    for seed in (1, 2):
        x, factor = draw(seed, 4, 3, 6, 7), draw(seed + 5, 4, 5, 6, 7)
        y = functional.conv2d(x, weight.view(5, 3, 3, 3), padding=1)
        show(weight, x, y, 3)
        (y * factor).sum().backward()
        patches.append(functional.unfold(x, 3, padding=1).mean((0, 2)))
        sums.append(factor.sum((0, 2, 3)))
    found = tap_of(weight)
    assert found is not None
    seen = found.take()
    assert seen is not None
    torch.testing.assert_close(seen[0], (patches[0] + patches[1]) / 2)
    torch.testing.assert_close(seen[1], sums[0] + sums[1])
    assert found.take() is None


def test_every_weight_of_a_network_is_seen() -> None:
    """With one sample and one place the gradient of a weight is exactly what came back times the input: blocks, hidden
    heads and heads; nothing is kept where no gradient flows, and nothing at all where nobody taps."""
    net = Net(network(CONFIG, (6,), 3), 0)
    net.eval()
    weights = [p for n, p in net.named_parameters() if n.endswith("matrix")]
    assert len(weights) == 5
    for p in weights[:-1]:
        tap(p)
    with torch.no_grad():
        net(draw(1, 1, 6))
    assert all(tap_of(p).take() is None for p in weights[:-1])  # type: ignore[union-attr]
    torch.stack([o.square().sum() for o in net(draw(1, 1, 6))]).sum().backward()
    for p in weights[:-1]:
        seen = tap_of(p).take()  # type: ignore[union-attr]
        assert seen is not None
        assert p.grad is not None
        torch.testing.assert_close(torch.outer(seen[1], seen[0]), p.grad)
    assert tap_of(weights[-1]) is None


# ---------------------------------------------------------------- MKOR
def layer(**hyper: Any) -> tuple[nn.Parameter, Optimizers]:
    p = nn.Parameter(draw(0, 3, 4).double())
    return p, build("mkor", Roles.of([("blocks.0.weight", p)]), {"weight_decay": 0.0, **hyper})


def pass_through(p: nn.Parameter, seed: int) -> tuple[Tensor, Tensor]:
    """A batch through the layer `p`; answers the mean input and the mean gradient of a sample's output."""
    x, y_grad = draw(seed, 6, 4).double(), draw(seed + 50, 6, 3).double() / 6
    y = functional.linear(x, p)
    show(p, x, y)
    p.grad = None
    y.backward(y_grad)
    return x.mean(0), y_grad.sum(0)


@pytest.mark.parametrize("frequency", [1, 3])
def test_mkor_keeps_the_inverses_of_its_factors(frequency: int) -> None:
    """Seven steps beside dense inversions: each renewal draws the inverse towards 1 and takes in one vector; between
    them nothing changes; the update is B⁻¹ G A⁻¹, as long as G, into a momentum."""
    p, optimizer = layer(lr=0.1, momentum=0.5, gamma=0.9, frequency=frequency, stabilise=0.2)
    state = optimizer.optimizers["optimizer"].state[p]
    eyes = [torch.eye(n, dtype=torch.float64) for n in (4, 3)]
    inverses, momentum = list(eyes), torch.zeros(3, 4, dtype=torch.float64)
    for i in range(7):
        seen = pass_through(p, i)
        assert p.grad is not None
        before, gradient = p.detach().clone(), p.grad.clone()
        optimizer.step()
        if i % frequency == 0:
            drawn = [e if i == 0 else 0.8 * v + 0.2 * e for v, e in zip(inverses, eyes, strict=True)]
            inverses = [torch.linalg.inv(0.9 * torch.linalg.inv(d) + 0.1 * torch.outer(a, a))
                        for d, a in zip(drawn, seen, strict=True)]  # fmt: skip
        torch.testing.assert_close(state["inputs"], inverses[0])
        torch.testing.assert_close(state["outputs"], inverses[1])
        update = inverses[1] @ gradient @ inverses[0]
        momentum = 0.5 * momentum + update * gradient.norm() / update.norm()
        torch.testing.assert_close(before - p.detach(), 0.1 * momentum)
        if i == 0:
            assert float((before - p.detach()).norm()) == pytest.approx(0.1 * float(gradient.norm()))
            assert not torch.allclose(before - p.detach(), 0.1 * gradient, rtol=1e-2)


def test_mkor_says_what_it_needs() -> None:
    """A layer that does not show its input is told at the step; a task whose layers do not, when the file is read."""
    p, optimizer = layer()
    p.grad = torch.ones_like(p)
    with pytest.raises(SpaceError, match="show their inputs, which the networks of classify do"):
        optimizer.step()
    said = 'study: s\nobjectives: {val_loss: minimize}\nspace: {optimizer: mkor, lr: 1}\ntask: {TASK: {}}\n'
    for task in ("lm", "dnas"):
        with pytest.raises(StudyError, match="mkor needs layers that show their inputs"):
            Study.loads(said.replace("TASK", task))
    Study.loads(said.replace("TASK", "classify").replace("lr", "width"))


# ---------------------------------------------------------------- M-FAC
def test_mfac_is_the_dense_inverse_over_a_window() -> None:
    """Five steps with a window of 3 over a matrix and a vector as one: λ I + the mean of the last outer products,
    inverted whole; decay by itself; a parameter without a gradient counts as one of zeros, and it does not move."""
    w, b = nn.Parameter(draw(0, 2, 3).double()), nn.Parameter(draw(1, 2).double())
    said = {"lr": 0.1, "momentum": 0.25, "window": 3, "damp": 0.05, "weight_decay": 0.5}
    optimizer = build("mfac", Roles.of([("blocks.0.weight", w), ("blocks.0.bias", b)]), said)
    seen: list[Tensor] = []
    momentum = torch.zeros(8, dtype=torch.float64)
    for i in range(5):
        w.grad, b.grad = draw(10 + i, 2, 3).double(), None if i == 2 else draw(20 + i, 2).double()
        seen.append(torch.cat([w.grad.flatten(), torch.zeros(2).double() if b.grad is None else b.grad]))
        before = torch.cat([w.detach().flatten() * (1 - 0.1 * 0.5), b.detach()])
        optimizer.step()
        last = torch.stack(seen[-3:])
        fisher = 0.05 * torch.eye(8, dtype=torch.float64) + last.T @ last / len(last)
        moves = torch.arange(8) < (6 if i == 2 else 8)
        momentum = torch.where(moves, 0.25 * momentum + 0.75 * torch.linalg.solve(fisher, seen[-1]), momentum)
        torch.testing.assert_close(torch.cat([w.detach().flatten(), b.detach()]), before - 0.1 * momentum * moves)


def test_mfac_takes_what_has_no_direction() -> None:
    """Gradients of zeros move nothing; what is not finite ends in NaN weights, without an exception."""
    w = nn.Parameter(torch.ones(1, 3))
    optimizer = build("mfac", Roles.of([("blocks.0", w)]), {"weight_decay": 0.0})
    w.grad = torch.zeros(1, 3)
    optimizer.step()
    assert w.tolist() == [[1.0, 1.0, 1.0]]
    w.grad = torch.full((1, 3), float("nan"))
    optimizer.step()
    assert bool(w.isnan().all())


# ---------------------------------------------------------------- MicroAdam
@given(count=st.integers(1, 200), seed=st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_errors_come_back_to_half_a_step(count: int, seed: int) -> None:
    """4 bits between the smallest and the largest of each bucket of 64; a constant comes back as it is."""
    error = draw(seed, count)
    packed = pack(error)
    filled = functional.pad(error, (0, -count % BUCKET)).view(-1, BUCKET)
    half = (filled.amax(1) - filled.amin(1)) / 30
    off = functional.pad((unpack(packed, count) - error).abs(), (0, -count % BUCKET)).view(-1, BUCKET)
    assert bool((off <= half[:, None] + 1e-6).all())
    assert packed["codes"].numel() == filled.numel() // 2
    whole = torch.full((2 * BUCKET,), 0.3)
    assert torch.equal(unpack(pack(whole), 2 * BUCKET), whole)


def test_microadam_takes_the_largest_and_keeps_the_rest() -> None:
    """At each step the two largest of gradient + error are taken; taken and kept together are all gradients so far, to
    the rounding of the error; weights move only where the window has something."""
    w = nn.Parameter(torch.zeros(4, 5))
    said = {"lr": 0.1, "density": 0.1, "window": 3, "weight_decay": 0.0}
    optimizer = build("microadam", Roles.of([("blocks.0", w)]), said)
    state = optimizer.optimizers["optimizer"].state[w]
    total, taken, error = torch.zeros(20), torch.zeros(20), torch.zeros(20)
    for i in range(7):
        before = w.detach().clone()
        w.grad = draw(i, 4, 5)
        fed = w.grad.flatten() + error
        optimizer.step()
        places, values = state["places"][i % 3].long(), state["values"][i % 3]
        assert set(places.tolist()) == set(fed.abs().topk(2).indices.tolist())
        torch.testing.assert_close(values, fed[places])
        error = unpack(state["error"], 20)
        total += w.grad.flatten()
        taken.index_add_(0, places, values)
        left = fed.clone()
        left[places] = 0
        assert float((error - left).abs().max()) <= float(left.max() - left.min()) / 30 + 1e-6
        window = set(state["places"][: min(i + 1, 3)].flatten().tolist())
        moved = (w.detach() != before).flatten().nonzero().flatten().tolist()
        assert set(moved) == window
    torch.testing.assert_close(taken + error, total, rtol=0, atol=7 * 0.15)


def test_microadam_with_every_coordinate_is_adamw() -> None:
    """Density 1 and a window as long as the training: AdamW, step by step; a shorter window forgets."""
    ends = []
    for name, said in (("adamw", {}), ("microadam", {"density": 1.0}), ("microadam", {"density": 1.0, "window": 3})):
        w = nn.Parameter(draw(0, 6, 5))
        optimizer = build(name, Roles.of([("blocks.0", w)]), {"lr": 0.05, "weight_decay": 0.1, **said})
        for i in range(8):
            w.grad = draw(100 + i, 6, 5)
            optimizer.step()
        ends.append(w.detach())
    torch.testing.assert_close(ends[1], ends[0], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(ends[2], ends[0], rtol=1e-3)


def test_microadam_is_smaller_than_adam() -> None:
    """Of 65,536 weights: half a byte each for the error (and 8 a bucket), 8 bytes for each of 10 × 656 window entries;
    Adam's two moments take 8 bytes a weight."""
    w = nn.Parameter(torch.ones(256, 256))
    optimizer = build("microadam", Roles.of([("blocks.0", w)]), {})
    w.grad = draw(0, 256, 256)
    optimizer.step()
    state = optimizer.optimizers["optimizer"].state[w]
    tensors = [state["places"], state["values"], *state["error"].values()]
    size = sum(t.numel() * t.element_size() for t in tensors)
    assert size == 32768 + 8 * 1024 + 8 * 10 * 656
    assert size < 65536 * 8 / 5
