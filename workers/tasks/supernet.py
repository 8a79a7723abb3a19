"""The built-in task: train a super-network, and find sub-networks in it. One step is one epoch.

What a report says: `val_error` (percent) and `val_loss` of the biggest sub-network, `train_loss`, and `points`, one a
sub-network: `subnet` (its genome), its `val_error` after its batch norms were taken anew, `params`, `macs`, `bops`,
`bytes`, and `latency_ms` where the study asks for it. In a step that `search.every` divides sub-networks are searched;
in the others those that are known are measured again. All of it but latencies is a function of the seed and the step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from spaces.builtin.supernet import DEFAULTS, distill_of, space_of
from spaces.schedules import scheduled
from spaces.subnets import subnet
from workers import data as datasets
from workers.data import Part
from workers.measurers import Measurer, Run, onnx_run
from workers.nets.elastic import Supernet
from workers.nets.subnet import cut
from workers.nets.subnet_graph import build as build_graph
from workers.optimizers import Optimizers, build
from workers.supernet.export import export
from workers.supernet.finder import Finder
from workers.supernet.training import Rule, rule_of, train_batch
from workers.tasks.classify import batch_size, batches
from workers.trial import Trial

__all__ = ["export", "prepare", "train"]


def train(trial: Trial) -> None:
    """Train the super-network of `trial.config` on the data of `trial.options`, epoch by epoch."""
    torch.set_num_threads(1)  # a slot has one core; small layers lose by sharing it
    data = datasets.load(trial.options)
    space = space_of(trial.options, trial.config)
    net = Supernet(space, trial.seed)
    rule = rule_of(space, trial.config, trial.seed, DEFAULTS)
    teacher = Supernet(space, trial.seed) if rule.training == "progressive" else None
    optimizer = optimizer_of(net, trial.at(1))
    teachers = {} if teacher is None else {"teacher": teacher}
    saved = trial.load(model=net, **teachers, **optimizer.parts)
    finder = Finder(net, data, trial.options, trial.objectives, saved, rule.training == "sorted",
                    trial.predictor, rule.exits.rule)  # fmt: skip
    finder.check()
    for epoch in trial.steps():
        now = trial.at()
        if scheduled(trial.config):
            optimizer.follow(optimizer_of(net, now))
        if rule.begins(epoch):
            begin_stage(net, teacher, rule, optimizer, epoch)
        loss = run_epoch(net, optimizer, data.train, rule, epoch, batch_size(now), distill_of(now), teacher)
        metrics = finder.biggest()
        points = finder.points(epoch, trial.seed) if math.isfinite(metrics["val_error"]) else finder.lost()
        trial.report({**metrics, "train_loss": loss}, points=points)
        trial.save(model=net, epoch=epoch, **finder.state(), **teachers, **optimizer.parts)


def prepare(options: Mapping[str, Any], nested: Mapping[str, Any], exit_: int, by: Measurer) -> Run:
    """One sample through the untrained sub-network that `subnet` names beside a config, up to an exit, to be timed."""
    space = space_of(options, nested)
    sample = torch.rand(32, *space.input_shape, generator=torch.Generator().manual_seed(0))
    found = cut(Supernet(space, 0), subnet(space, nested["subnet"]), sample)
    return onnx_run(by, build_graph(found, exit_), sample[:1].numpy())


def optimizer_of(net: Supernet, config: Mapping[str, Any]) -> Optimizers:
    """The optimizer that a nested config asks for."""
    said = config.get("optimizer", DEFAULTS["optimizer"])
    hyper = {"name": said} if isinstance(said, str) else dict(said)
    return build(str(hyper.get("name")), net.roles(), hyper)


def begin_stage(net: Supernet, teacher: Supernet | None, rule: Rule, optimizer: Optimizers, epoch: int) -> None:
    """A new stage of progressive shrinking: the first takes the biggest sub-network as the teacher; before widths
    become elastic, channels are put in the order of their importance. The optimizer's moments begin anew, as there."""
    stage = rule.stage_of(epoch)
    if stage == 1 and teacher is not None:
        teacher.load_state_dict(net.state_dict())
    if stage == 3:
        net.sort_channels()
    for part in optimizer.optimizers.values():
        part.state.clear()


def run_epoch(
    net: Supernet, optimizer: Optimizers, part: Part, rule: Rule, epoch: int, batch: int, distill: float,
    teacher: Supernet | None,
) -> float:  # fmt: skip
    """One pass over `part`; answers the mean loss of the first sub-network of a batch (in `sandwich` the biggest)."""
    optimizer.train()
    total = 0.0
    for number, index in enumerate(batches(len(part), batch, rule.seed, epoch)):
        optimizer.zero_grad()
        loss = train_batch(net, rule, part.x[index], part.y[index], epoch, number, distill, teacher)
        optimizer.step()
        total += loss * len(index)
    optimizer.eval()
    return total / len(part)

