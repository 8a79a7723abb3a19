"""The exit gate against the scores that workers evaluate exits by, its order against a list, and torch's own checks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from kernels.exit_gate import NONE, RULES, compact, exit_gate, reference, scatter
from workers.tasks.exits import scores, taken


def drawn(seed: int, samples: int, classes: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    return (torch.randn(samples, classes, generator=g, dtype=torch.float64) * 3).to(dtype)


def apart(score: torch.Tensor, share: float = 0.5) -> float:
    """A threshold in the middle of a gap between two scores, so that float32 and float64 agree who is above it."""
    values = score.double().sort().values
    if len(values) < 2:
        return 0.5
    gaps = values.diff()
    fit = (gaps > 1e-5).nonzero().flatten()
    k = int(fit[int((len(fit) - 1) * share)])
    return float(values[k] + gaps[k] / 2)


@pytest.mark.parametrize("rule", RULES)
def test_golden(rule: str) -> None:
    """p = (.7, .2, .1): largest probability .7, normalised entropy .729847, margin .5 (ALGORITHMS 14.2)."""
    logits = torch.tensor([[0.2, 0.7, 0.1]], dtype=torch.float64).log()
    wanted = {"probability": 0.7, "entropy": 1 - 0.729847, "margin": 0.5}[rule]
    gate = exit_gate(logits, 0.4, rule)
    assert gate.score.tolist() == pytest.approx([wanted], abs=1e-6)
    assert gate.prediction.tolist() == [1]
    assert int(gate.count) == (wanted < 0.4)
    assert gate.order.tolist() == ([0] if wanted < 0.4 else [NONE])


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("classes", [2, 10, 101])
def test_scores_are_those_of_workers(rule: str, temperature: float, classes: int) -> None:
    """In float64 the scores are what workers evaluate exits by, to a few roundings; in float32 to some 1e-6."""
    logits = drawn(1, 40, classes, torch.float64)
    wanted = scores(rule, [logits.numpy()], [temperature])[:, 0]
    found = exit_gate(logits, 0.5, rule, temperature)
    assert found.score.numpy() == pytest.approx(wanted, abs=1e-14)  # sums of up to 101 terms below 1
    single = exit_gate(logits.float(), 0.5, rule, temperature)
    assert single.score.numpy() == pytest.approx(wanted, abs=3e-6)  # logits up to 12, half a rounding each in exp
    assert torch.equal(found.prediction, logits.argmax(1))


@pytest.mark.parametrize("rule", RULES)
def test_logits_that_are_not_finite(rule: str) -> None:
    """NaN and infinity are as sure as can be, and say no class: such a sample leaves, and is never right."""
    inf = float("inf")
    logits = torch.tensor([[0.0, float("nan")], [inf, 0.0], [-inf, -inf], [-inf, 1.0]])
    gate = exit_gate(logits, 1.0, rule)
    assert gate.score.tolist() == [1.0] * 4
    assert gate.prediction.tolist() == [NONE, NONE, NONE, 1]
    assert gate.score.numpy() == pytest.approx(scores(rule, [logits.numpy()])[:, 0])


@pytest.mark.parametrize("threshold", [-1.0, 0.3, 0.5, 2.0])
def test_order(threshold: float) -> None:
    """Those below the threshold, ascending, then NONE; a threshold that all reach or none."""
    gate = exit_gate(drawn(2, 37, 5), threshold)
    wanted = [i for i, s in enumerate(gate.score.tolist()) if not s >= threshold]
    assert gate.going().tolist() == wanted
    assert gate.order.tolist() == wanted + [NONE] * (37 - len(wanted))
    assert int(gate.count) == len(wanted)


def test_a_score_equal_to_the_threshold_leaves() -> None:
    """At least, as everywhere."""
    assert int(exit_gate(torch.zeros(1, 2), 0.5).count) == 0


@pytest.mark.parametrize("rule", RULES)
def test_empty_and_single(rule: str) -> None:
    """No sample, one sample, one class."""
    none = exit_gate(torch.zeros(0, 3), 0.5, rule)
    assert [t.shape for t in (none.score, none.prediction, none.order, none.count)] == [(0,), (0,), (0,), ()]
    assert int(none.count) == 0
    alone = exit_gate(torch.tensor([[4.0]]), 0.5, rule)
    assert (alone.score.tolist(), alone.prediction.tolist(), alone.order.tolist()) == ([1.0], [0], [NONE])


@pytest.mark.parametrize("rule", RULES)
def test_a_cascade_answers_as_the_offline_rule(rule: str) -> None:
    """Batches that shrink from exit to exit, put back at the end, answer what each sample's exit says in the evaluation
    that computes all exits for all samples."""
    g = torch.Generator().manual_seed(3)
    x = torch.randn(60, 8, generator=g, dtype=torch.float64)
    segments = [torch.randn(8, 8, generator=g, dtype=torch.float64) for _ in range(3)]
    heads = [torch.randn(8, 6, generator=g, dtype=torch.float64) for _ in range(3)]

    def step(h: torch.Tensor, k: int) -> torch.Tensor:
        return torch.tanh(h @ segments[k])

    features, logits = x, []
    for k in range(3):
        features = step(features, k)
        logits.append((features @ heads[k]).numpy())
    score = scores(rule, logits)
    thresholds = [apart(torch.from_numpy(score[:, k])) for k in range(2)]
    at = taken(score, thresholds)
    wanted = np.stack(logits, 1)[np.arange(60), at].argmax(1)

    def answer(h: torch.Tensor, k: int) -> torch.Tensor:
        h = step(h, k)
        gate = exit_gate(h @ heads[k], thresholds[k] if k < 2 else -math.inf, rule)
        going = gate.going()
        if not len(going):
            return gate.prediction
        return scatter(gate.prediction, going, answer(compact(h, going), k + 1))

    assert len(set(at)) == 3
    assert answer(x, 0).tolist() == wanted.tolist()


def test_rows_there_and_back() -> None:
    """compact takes the rows of an order and zeros for NONE; scatter puts rows back and leaves the others."""
    x = torch.arange(12.0).reshape(4, 3)
    order = torch.tensor([1, 3, NONE, NONE])
    rows = compact(x, order)
    assert rows.tolist() == [[3.0, 4.0, 5.0], [9.0, 10.0, 11.0], [0.0] * 3, [0.0] * 3]
    back = scatter(x, order, -rows)
    assert back.tolist() == [[0.0, 1.0, 2.0], [-3.0, -4.0, -5.0], [6.0, 7.0, 8.0], [-9.0, -10.0, -11.0]]
    assert x[1, 0] == 3.0
    assert compact(torch.zeros(0, 3), order[:0]).shape == (0, 3)
    assert scatter(torch.zeros(0), order[:0], torch.zeros(0)).shape == (0,)


def test_gradients() -> None:
    """What was moved gets its gradient from where it went, what was overwritten none: by finite differences."""
    order = torch.tensor([0, 2, NONE])
    x = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    rest = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: compact(t, order), (x,))
    assert torch.autograd.gradcheck(lambda a, b: scatter(a, order, b), (x, rest))
    assert not exit_gate(x, 0.5).score.requires_grad


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype: torch.dtype) -> None:
    """Half logits are scored in float32."""
    logits = drawn(4, 9, 7, dtype)
    gate = exit_gate(logits, 0.5, "entropy")
    assert gate.score.dtype == torch.float32
    assert torch.equal(gate.score, reference.score(logits.float(), "entropy"))


def test_opcheck() -> None:
    """Schema, fake tensors, autograd registration and dynamic shapes hold."""
    logits = drawn(5, 9, 7)
    for rule in range(3):
        torch.library.opcheck(torch.ops.searchd.exit_gate.default, (logits, 0.5, 1.5, rule))
    order = torch.tensor([1, 4, NONE])
    x, rest = (torch.randn(n, 2, 3, requires_grad=True) for n in (9, 3))
    torch.library.opcheck(torch.ops.searchd.exit_compact.default, (x, order))
    torch.library.opcheck(torch.ops.searchd.exit_scatter.default, (x, order, rest))


Z, I64 = torch.zeros(4, 3), torch.int64


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: exit_gate(Z.int(), 0.5), "the logits is of torch.int32, but has to be of floats"),
        (lambda: exit_gate(Z[0], 0.5), r"the logits are \[3\], but need \[B, C\]"),
        (lambda: exit_gate(Z[:, :0], 0.5), r"\[4, 0\], but need"),
        (lambda: exit_gate(Z, 0.5, "patience"), "no rule 'patience' for one exit alone: use probability"),
        (lambda: exit_gate(Z, 0.5, temperature=0.0), "the temperature is 0.0, but has to be positive"),
        (lambda: exit_gate(Z, math.nan), "the threshold is no number"),
        (lambda: compact(Z, torch.zeros(2)), r"the order is \[2\] of torch.float32.*n <= 4"),
        (lambda: compact(Z, torch.zeros(5, dtype=I64)), r"\[5\] of torch.int64.*n <= 4"),
        (lambda: compact(Z[0, 0], torch.zeros(0, dtype=I64)), r"x is \[\]"),
        (lambda: compact(Z, torch.zeros(2, dtype=I64, device="meta")), "have to be on one"),
        (lambda: scatter(Z, torch.zeros(2, dtype=I64), Z), r"the rest is \[4, 3\].*are \[2, 3\] of torch.float32"),
        (lambda: scatter(Z, torch.zeros(2, dtype=I64), Z[:2].double()), "of torch.float64"),
    ],
)
def test_what_does_not_fit_says_so(call, message: str) -> None:  # type: ignore[no-untyped-def]
    """Shapes, dtypes, devices and numbers that do not fit are errors with value, rule and remedy."""
    with pytest.raises(ValueError, match=message):
        call()
