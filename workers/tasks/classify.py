"""The built-in task: train a multi-exit network, quantized where its config says so. One step is one epoch.

What a report says: `val_error` (percent, of the last exit), `val_loss`, `train_loss` (means over the exits), and
`points`, one for each exit threshold of a sweep. A training that is resumed goes on bit for bit as if it had never
been interrupted: the order of samples depends on (seed, epoch) alone, everything else is in the checkpoint.
A trial with a parent begins with the parent's network, morphed; its optimizer begins anew.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from spaces.errors import SpaceError
from spaces.nets import DEFAULTS, network
from spaces.schedules import scheduled
from workers import data as datasets
from workers.data import Data, Part
from workers.export import export
from workers.measure import measure, prepare
from workers.nets.modules import Net
from workers.nets.morph import morph
from workers.optimizers import Optimizers, Roles, build
from workers.parent import Parent
from workers.tasks.exits import judge, sweep
from workers.trial import Trial

__all__ = ["export", "measure", "prepare", "train"]

SAMPLE = 512
"""Samples whose statistics the batch norms of new blocks begin with."""


def train(trial: Trial) -> None:
    """Train the network of `trial.config` on the data of `trial.options`, epoch by epoch."""
    torch.set_num_threads(1)  # a slot has one core; small layers lose by sharing it
    data = datasets.load(trial.options)
    net = Net(network(trial.config, data.shape, data.classes), trial.seed)
    optimizer = optimizer_of(net, trial.at(1))
    batch = batch_size(trial.at(1))
    changes = scheduled(trial.config)
    trial.load(model=net, **optimizer.parts)
    if trial.parent is not None:
        inherit(net, trial.parent, data, trial.seed)
    for epoch in trial.steps():
        if changes:
            optimizer.follow(optimizer_of(net, trial.at()))
            batch = batch_size(trial.at())
        train_loss = run_epoch(net, optimizer, data.train, batch, trial.seed, epoch)
        metrics, points = evaluate(net, data.val)
        trial.report({**metrics, "train_loss": train_loss}, points=points)
        trial.save(model=net, epoch=epoch, **optimizer.parts)


def inherit(net: Net, parent: Parent, data: Data, seed: int) -> None:
    """Give `net` the trained weights of `parent`, morphed to its width and depth; as it is when they do not fit."""
    saved = parent.load()
    if saved is None:
        return
    try:
        before = Net(network(parent.config, data.shape, data.classes), 0)
        before.load_state_dict(saved["model"])
        net.load_state_dict(morph(before, net.spec, seed=seed, sample=data.train.x[:SAMPLE]).state_dict())
    except (SpaceError, KeyError, RuntimeError, AttributeError) as error:
        parent.decline(f"{parent.number} does not fit: {error}")


def optimizer_of(net: Net, config: Mapping[str, Any]) -> Optimizers:
    """The optimizer that a nested config asks for: a name, or a mapping with `name` and its hyperparameters."""
    said = config.get("optimizer", DEFAULTS["optimizer"])
    hyper = {"name": said} if isinstance(said, str) else dict(said)
    return build(str(hyper.get("name")), Roles.of(net.named_parameters()), hyper)


def batch_size(config: Mapping[str, Any]) -> int:
    """The config's batch size; SpaceError unless it is a whole number of at least 2 (batch norm needs two)."""
    said = config.get("batch_size", DEFAULTS["batch_size"])
    if isinstance(said, bool) or not isinstance(said, int) or said < 2:
        raise SpaceError(f"batch_size is {said!r}, but batch norm needs a whole number of at least 2: raise it")
    return said


def batches(count: int, size: int, seed: int, epoch: int) -> list[Tensor]:
    """Indices of one epoch in batches of nearly equal size, at most `size`; a function of the arguments only."""
    order = np.random.default_rng([seed % 2**63, epoch]).permutation(count)
    return list(torch.tensor_split(torch.from_numpy(order), math.ceil(count / size)))


def run_epoch(net: Net, optimizer: Optimizers, part: Part, batch: int, seed: int, epoch: int) -> float:
    """One pass over `part`; answers the mean loss. The loss of a batch is the mean over its exits."""
    net.train()
    total = 0.0
    for index in batches(len(part), batch, seed, epoch):
        loss = mean_loss(net(part.x[index]), part.y[index])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        total += float(loss.detach()) * len(index)
    return total / len(part)


def mean_loss(logits: list[Tensor], y: Tensor) -> Tensor:
    """Cross-entropy, the mean over the exits (ALGORITHMS.md 14.1, uniform weights)."""
    return torch.stack([functional.cross_entropy(one, y) for one in logits]).mean()


@torch.no_grad()
def evaluate(net: Net, part: Part) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """(metrics of the last exit, operating points). NaN everywhere once the logits are not finite: it diverged."""
    net.eval()
    logits = net(part.x)
    loss = float(mean_loss(logits, part.y))
    confidence, right = judge([one.numpy() for one in logits], part.y.numpy())
    points = [outcome.as_point() for outcome in sweep(confidence, right)]
    error = 100.0 * float(1.0 - right[:, -1].mean())
    if not math.isfinite(loss):
        error = math.nan
        points = [{**point, "val_error": math.nan} for point in points]
    return {"val_error": error, "val_loss": loss}, points

