"""`exit_gate`: who leaves at an exit, and the batch of those that go on; ours, the usual eager code, that compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from bench.kernels.rows import EAGER, Case, Provider
from kernels._choose import choose
from kernels.exit_gate import compact, exit_gate, reference

Decision = tuple[Tensor, Tensor, Tensor, Tensor]
"""Score [B], class [B], places of those that go on [n], their features [n, F]."""
SHAPES = {
    "cuda": ((4096, 1000, 512), (65536, 100, 256), (64, 10, 256)),
    "cpu": ((512, 1000, 256), (64, 10, 64)),
    "tiny": ((9, 7, 5),),
}
"""Samples, classes, features."""
NEAR = 1e-5
"""Where float64's score is nearer to the threshold than that, float32 may decide otherwise (logits up to 15)."""


def cases(device: torch.device, size: str) -> Iterator[Case]:
    """Each shape, float32, largest probability; the threshold lets half of the samples go on."""
    for samples, classes, features in SHAPES[size]:
        yield case(device, samples, classes, features)


def case(device: torch.device, samples: int, classes: int, features: int) -> Case:
    """One of them."""
    g = torch.Generator().manual_seed(0)
    logits = (torch.randn(samples, classes, generator=g) * 3).to(device)
    x = torch.randn(samples, features, generator=g).to(device)
    score = reference.score(logits.double(), "probability")
    threshold = float(score.median()) + 2 * NEAR
    on = int((score < threshold).sum())

    def decided(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        top, klass = torch.softmax(z, 1).max(1)
        return top, klass, top < threshold

    def usual(decide: Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]) -> Callable[[], Decision]:
        def run() -> Decision:
            top, klass, goes = decide(logits)
            places = goes.nonzero().flatten()
            return top, klass, places, x.index_select(0, places)

        return run

    def ours() -> Decision:
        gate = exit_gate(logits, threshold)
        going = gate.going()
        return gate.score, gate.prediction, going, compact(x, going)

    choice = choose("exit_gate", logits)
    wrong = gate_of(logits, x, score, threshold)
    # Logits once; score, class and place of each sample; the rows that go on, read and written.
    count = logits.numel() * 4 + samples * (4 + 8 + 8) + 2 * on * features * 4
    return Case(
        "exit_gate", f"{samples}x{classes}, {on} go on with {features} features", "float32", "", count,
        (
            Provider("ours", lambda: ours, wrong, f"{choice.provider}: {choice.why}"),
            Provider(EAGER, lambda: usual(decided), wrong),
            Provider("torch.compile", lambda: usual(torch.compile(decided, dynamic=False)), wrong),
        ),
    )  # fmt: skip


def gate_of(logits: Tensor, x: Tensor, score: Tensor, threshold: float) -> Callable[[Decision], str | None]:
    """The same scores to a few roundings, the same classes, the same samples that go on, their features as they are."""

    def wrong(found: Decision) -> str | None:
        top, klass, places, rows = found
        worst = float((top.double() - score).abs().max())
        if not worst <= NEAR:
            return f"a score is off by {worst:.1e}, {NEAR:.0e} allowed (sums of float32)"
        if not torch.equal(klass, logits.argmax(1)):
            return "a class is not that of the largest logit"
        goes = torch.zeros(len(score), dtype=torch.bool, device=score.device)
        goes[places] = True
        if bool(((goes != (score < threshold)) & ((score - threshold).abs() > NEAR)).any()):
            return "another sample goes on than by float64"
        if len(places) > 1 and not bool((places.diff() > 0).all()):
            return "the places do not rise"
        return None if torch.equal(rows, x[places]) else "the features of those that go on are not theirs"

    return wrong
