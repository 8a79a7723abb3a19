"""The built-in task: train a multi-exit network, quantized where its config says so. One step is one epoch.

What a report says: `val_error` (percent, of the last exit), `val_loss` (mean over the exits), `train_loss` (what is
minimised: the same mean, unless `exit_weights` or `exit_distill` say otherwise), and `points`, one for each vector of
exit thresholds (`workers.tasks.thresholds`), and those of bit allocations where the task says `allocate`. A training
that is resumed goes on bit for bit as if it had never been interrupted: the order of samples depends on (seed, epoch)
alone, everything else is in the checkpoint.
A trial with a parent begins with the parent's network, morphed; its optimizer begins anew.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spaces.decays import Decay, decay_of
from spaces.errors import SpaceError
from spaces.exits import exit_training
from spaces.nets import DEFAULTS, network
from spaces.schedules import scheduled
from workers import data as datasets
from workers.data import Data, Part
from workers.export import export
from workers.measure import measure, prepare
from workers.nets.modules import Net
from workers.nets.morph import morph
from workers.optimizers import Optimizers, Roles, build
from workers.optimizers.evaluation import renew_norms
from workers.parent import Parent
from workers.tasks import allocate
from workers.tasks.exit_losses import Loss, backward, loss_of, mean_loss
from workers.tasks.exits import correct
from workers.tasks.thresholds import operating_points
from workers.trial import Trial

__all__ = ["export", "measure", "prepare", "train"]

SAMPLE = 512
"""Samples whose statistics the batch norms of new blocks, and of averaged weights, begin with."""


def train(trial: Trial) -> None:
    """Train the network of `trial.config` on the data of `trial.options`, epoch by epoch."""
    torch.set_num_threads(1)  # a slot has one core; small layers lose by sharing it
    data = datasets.load(trial.options)
    exits = exit_training(trial.config)
    net = Net(network(trial.config, data.shape, data.classes), trial.seed, backward(exits))
    optimizer = optimizer_of(net, trial.at(1))
    batch = batch_size(trial.at(1))
    changes, decay = scheduled(trial.config), decay_of(trial.config)
    allocates = allocate.form_of(trial.options)
    trial.load(model=net, **optimizer.parts)
    if trial.parent is not None:
        inherit(net, trial.parent, data, trial.seed)
    for epoch in trial.steps():
        if changes:
            optimizer.follow(optimizer_of(net, trial.at()))
            batch = batch_size(trial.at())
        optimizer.train()
        size, loss = optimizer.batch(batch), loss_of(exits)
        train_loss = run_epoch(net, optimizer, data.train, size, trial.seed, epoch, loss, decay)
        optimizer.eval()
        if optimizer.averages:
            renew_norms(net, data.train.x[:SAMPLE])
        metrics, points = evaluate(net, data.val, exits.rule, trial.costs)
        if allocates is not None and (trial.last or allocates.at == "report") and math.isfinite(metrics["val_loss"]):
            judged = partial(evaluate, rule=exits.rule)
            points += allocate.points(
                net, trial.config, data, allocates, judged, seed=trial.seed, wanted=trial.objectives
            )
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


def optimizer_of(net: nn.Module, config: Mapping[str, Any]) -> Optimizers:
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


def run_epoch(
    net: Net, optimizer: Optimizers, part: Part, batch: int, seed: int, epoch: int, loss_: Loss | None = None,
    decay: Decay | None = None,
) -> float:  # fmt: skip
    """One pass over `part`; answers the mean loss. The loss of a batch is the mean over its exits if not given.

    `decay`: what the learning rate follows, at the middle of each batch.
    """
    loss_of_batch = loss_ or mean_loss
    net.train()
    total = 0.0
    found = batches(len(part), batch, seed, epoch)
    for i, index in enumerate(found):
        if decay is not None:
            optimizer.scale(decay.at(epoch - 1 + (i + 0.5) / len(found)))
        loss = loss_of_batch(net(part.x[index]), part.y[index])
        optimizer.zero_grad()
        optimizer.backward(loss)
        optimizer.step()
        total += float(loss.detach()) * len(index)
    return total / len(part)


@torch.no_grad()
def evaluate(
    net: Net, part: Part, rule: str = "probability", costs: Sequence[float] = ()
) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """(metrics of the last exit, operating points). NaN everywhere once the logits are not finite: it diverged.

    `costs`: cumulative, of each exit; multiply-accumulates where they are not given.
    """
    net.eval()
    logits = net(part.x)
    loss = float(mean_loss(logits, part.y))
    answers, y = [one.numpy() for one in logits], part.y.numpy()
    exits = range(len(logits))
    known = costs if len(costs) == len(logits) else [sum(layer.macs for layer in net.spec.prefix(k)) for k in exits]
    points = operating_points(rule, answers, y, known)
    error = 100.0 * float(1.0 - correct(answers[-1:], y).mean())
    if not math.isfinite(loss):
        error = math.nan
        points = [{**point, "val_error": math.nan} for point in points]
    return {"val_error": error, "val_loss": loss}, points

