"""The built-in task `dnas`: a network learns which blocks it should have, and what they cost is in its loss.

One step is one epoch: the weights are trained on one part of the training data, under masks drawn anew for each batch,
then the logits of the choice (theta) on the other part; during the first `warmup` epochs the weights alone. Masks are
`soft` (FBNet: every candidate runs, mixed) or `hard`: one path runs, as in ProxylessNAS, and theta learns through it by
the gradient of the soft masks (straight-through), for which every candidate is computed; `two`: theta learns as in
ProxylessNAS too, by two candidates of a layer at a time (see `workers.dnas.pairs`). Only what was trained as a path is
good as one: the architectures of soft masks have to be trained anew.

Every report has as points the architecture of the largest logits and some drawn from the probabilities, each with the
figures of that network alone: its batch norms settled, its error on the validation samples, its latency by the table.
With `architecture` in the config there is nothing to choose: that network is trained, on all of the training data.

A training that is resumed goes on bit for bit: order and draws depend on (seed, epoch) alone, the table is in the
trial's folder, everything else is in the checkpoint.
Sources: Wu et al. (2019, CVPR), FBNet: Gumbel-softmax and a latency table; Cai et al. (2019, ICLR), ProxylessNAS: one
path at a time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from spaces.builtin.dnas import Plan, plan_of
from spaces.predictor import Predictor
from spaces.schedules import scheduled
from workers import data as datasets
from workers.data import Part
from workers.dnas.export import export
from workers.dnas.graph import model
from workers.dnas.losses import expected_ms, loss_of
from workers.dnas.modules import Mixture, Path, Theta
from workers.dnas.pairs import drawn as pairs_of
from workers.dnas.table import FILE, Table, predicted, table_of
from workers.measurers import Measurer, onnx_run
from workers.measurers import Run as Timed
from workers.optimizers import Optimizers
from workers.tasks.classify import batch_size, batches, optimizer_of
from workers.trial import Trial

__all__ = ["export", "prepare", "train"]

RESTS_ON = (FILE,)
"""The latencies in the loss: a search that is made again needs those that it had."""
WEIGHTS, THETA, DRAWN = 1, 2, 3
"""What random numbers of an epoch are for."""


def train(trial: Trial) -> None:
    """Search, or train the one architecture of `trial.config`, on the data of `trial.options`, epoch by epoch."""
    torch.set_num_threads(1)  # a slot has one core; small layers lose by sharing it
    data = datasets.load(trial.options)
    plan = plan_of(trial.options, trial.config)
    net, theta = Mixture(plan.layout, trial.seed), Theta(plan.layout)
    optimizer = optimizer_of(net, trial.at(1))
    adam = torch.optim.Adam(theta.parameters(), lr=plan.theta_lr, weight_decay=plan.theta_decay)
    trial.load(model=net, theta=theta, theta_optimizer=adam, **optimizer.parts)
    run = Run(trial, plan, net, theta, optimizer, adam, table_for(trial, net), data.train, data.val)
    changes = scheduled(trial.config)
    for epoch in trial.steps():
        if changes:
            optimizer.follow(optimizer_of(net, trial.at()))
        metrics, points = run.epoch(epoch, batch_size(trial.at()))
        trial.report(metrics, points=points)
        trial.save(model=net, theta=theta, theta_optimizer=adam, epoch=epoch, **optimizer.parts)


def table_for(trial: Trial, net: Mixture) -> Table:
    """What candidates cost: predicted, where the study says so, else timed here, once a trial."""
    if trial.predictor is not None:
        return predicted(net.layout, Predictor.of_json(trial.predictor))
    return table_of(net, trial.files)


def prepare(options: Mapping[str, Any], nested: Mapping[str, Any], _: int, by: Measurer) -> Timed:
    """One sample through the untrained network of the architecture that a config names, ready to be timed."""
    plan = plan_of(options, nested)
    path = Mixture(plan.layout, 0).eval().path(plan.layout.check(nested.get("architecture")))
    return onnx_run(by, model(path), np.random.default_rng(0).random((1, *plan.layout.input_shape), dtype=np.float32))


class Run:
    """A search with all that an epoch needs."""

    def __init__(
        self, trial: Trial, plan: Plan, net: Mixture, theta: Theta, optimizer: Optimizers, adam: torch.optim.Adam,
        table: Table, part: Part, val: Part,
    ) -> None:  # fmt: skip
        self.plan, self.net, self.theta, self.table = plan, net, theta, table
        self.optimizer, self.adam = optimizer, adam
        self.kind = trial.options.get("masks", "hard")
        self.seed = trial.seed % 2**63
        self.samples = int(trial.options.get("samples", 3))
        self.warmup = int(trial.options.get("warmup", 1))
        self.val = val
        share = float(trial.options.get("theta_share", 0.2)) if plan.architecture is None else 0.0
        self.weights_part, self.theta_part = halves(part, share)
        self.costs = table.tensors(plan.layout)
        even = [torch.full_like(t, 1.0 / len(t)) for t in self.costs]
        self.target_ms = plan.target_ms or float(expected_ms(even, self.costs, table.base_ms))

    def epoch(self, epoch: int, batch: int) -> tuple[dict[str, float], list[dict[str, Any]]]:
        """Train one epoch; answers what is reported: metrics of the chosen architecture, and the points."""
        loss = self.train_weights(epoch, batch)
        if self.plan.architecture is None and epoch > self.warmup:
            self.train_theta(epoch, batch)
        points = [self.point(a) for a in self.architectures(epoch)]
        best = points[0]
        metrics = {"val_error": best["val_error"], "val_loss": best["val_loss"], "train_loss": loss}
        metrics |= {"latency_ms": best["latency_ms"], "expected_ms": best["latency_ms"], "entropy": 0.0}
        if self.plan.architecture is None:
            with torch.no_grad():
                expected = expected_ms(self.theta.probabilities(), self.costs, self.table.base_ms)
            metrics |= {"expected_ms": float(expected), "entropy": self.theta.entropy()}
        return metrics, points

    def train_weights(self, epoch: int, batch: int) -> float:
        """One pass over the weights' part; answers the mean cross-entropy."""
        self.net.train()
        self.optimizer.train()
        total, part, draw = 0.0, self.weights_part, self.uniforms(epoch, WEIGHTS)
        for index in batches(len(part), batch, self.seed, epoch):
            logits = self.logits(part.x[index], epoch, draw)
            loss = functional.cross_entropy(logits, part.y[index])
            self.optimizer.zero_grad()
            self.optimizer.backward(loss)
            self.optimizer.step()
            total += float(loss.detach()) * len(index)
        self.optimizer.eval()
        return total / len(part)

    def logits(self, x: Tensor, epoch: int, draw: np.random.Generator) -> Tensor:
        """What the weights are trained by: the one architecture, a path that is drawn, or the mixture."""
        if self.plan.architecture is not None:
            answer: Tensor = self.net.path(self.plan.architecture)(x)
            return answer
        masks = [m.detach() for m in self.masks(epoch, draw)]
        if self.kind == "soft":
            mixed: Tensor = self.net(x, masks)
            return mixed
        alone: Tensor = self.net.path(self.theta.named(int(m.argmax()) for m in masks))(x)
        return alone

    def train_theta(self, epoch: int, batch: int) -> None:
        """One pass over the other part: the choice learns, by error and latency."""
        part, draw = self.theta_part, self.uniforms(epoch, THETA)
        learned = list(self.theta.parameters())
        for index in batches(len(part), batch, self.seed, epoch):
            x, y = part.x[index], part.y[index]
            if self.kind == "two":
                shares: Sequence[Tensor] = self.theta.probabilities()
                logits = self.net.pairs(x, pairs_of(learned, draw))
            else:
                soft = self.masks(epoch, draw)
                shares = soft if self.plan.loss == "fbnet" else self.theta.probabilities()
                logits = self.net(x, [straight_through(m) for m in soft] if self.kind == "hard" else soft)
            ce = functional.cross_entropy(logits, y)
            latency = expected_ms(shares, self.costs, self.table.base_ms)
            self.adam.zero_grad(set_to_none=True)
            torch.autograd.backward(loss_of(self.plan, ce, latency, self.target_ms), inputs=learned)
            self.adam.step()

    def uniforms(self, epoch: int, purpose: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, epoch, purpose])

    def masks(self, epoch: int, draw: np.random.Generator) -> list[Tensor]:
        """The next masks of this epoch; uniforms stay off 0, whose logarithm there is none."""
        wanted = [np.clip(draw.random(len(t)), 1e-12, 1.0 - 1e-12) for t in self.theta.layers]
        return self.theta.masks(self.plan.tau(epoch), wanted)

    def architectures(self, epoch: int) -> list[tuple[str, ...]]:
        """The chosen one, and some that are drawn by the probabilities, each once."""
        if self.plan.architecture is not None:
            return [self.plan.architecture]
        rng = self.uniforms(epoch, DRAWN)
        drawn = [self.theta.draw(rng) for _ in range(self.samples)]
        return list(dict.fromkeys([self.theta.best(), *drawn]))

    def point(self, architecture: tuple[str, ...]) -> dict[str, Any]:
        """The figures of one architecture with the weights that it has now."""
        error, loss = judge(self.net.path(architecture).settled(self.weights_part.x), self.val)
        latency = self.table.of(architecture)
        return {
            "architecture": list(architecture), "val_error": error, "val_loss": loss, "latency_ms": latency,
            "predicted_ms": latency, **self.plan.layout.figures(architecture),
        }  # fmt: skip


def straight_through(mask: Tensor) -> Tensor:
    """1 at the largest entry and 0 elsewhere, with the gradient of `mask` (Bengio et al., 2013)."""
    hard = functional.one_hot(mask.argmax(), len(mask)).to(mask.dtype)
    return hard + mask - mask.detach()


def halves(part: Part, share: float) -> tuple[Part, Part]:
    """The samples that weights learn from, and the share that the choice learns from; the same for every trial."""
    if share == 0.0:
        return part, part
    count = min(max(2, round(share * len(part))), len(part) - 2)
    order = torch.from_numpy(np.random.default_rng([0, len(part)]).permutation(len(part)))
    kept, other = order[count:], order[:count]
    return Part(part.x[kept], part.y[kept]), Part(part.x[other], part.y[other])


@torch.no_grad()
def judge(net: Path, part: Part) -> tuple[float, float]:
    """(error in percent, mean cross-entropy) of a settled network; NaN once its logits are not finite."""
    logits = net(part.x)
    loss = float(functional.cross_entropy(logits, part.y))
    if not math.isfinite(loss):
        return math.nan, math.nan
    return 100.0 * float((logits.argmax(1) != part.y).double().mean()), loss
