"""How a super-network is trained: which sub-networks a batch trains, and what each of them learns from.

sandwich     the biggest from the labels, the smallest and `samples` random ones from the biggest's probabilities, in
             one step (in-place distillation: BigNAS, Yu et al., 2020, ECCV)
progressive  the biggest alone for `stage` epochs; then it is the teacher, and kernel, depth, width, and bits become
             elastic, each `stage` epochs after the last, with 1, 2, 4, 4 random sub-networks a step (Once-for-All)
sorted       `samples` random links of the nested chain, from the labels (SortedNet: Valipour et al., 2023)

Everything drawn is a function of (seed, epoch, batch), so that a resumed training goes on bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor
from torch.nn import functional

from spaces.builtin.supernet import exits_of
from spaces.elastic import PER_BLOCK, ElasticSpace, Genome
from spaces.exits import ExitTraining, exit_training, loss_weights
from spaces.subnets import SubnetSpec, subnet
from workers.nets.elastic import Supernet
from workers.tasks.exit_losses import loss_of

STAGES = ("kernels", "depth", "widths", "bits")
"""What becomes elastic in `progressive`, one after the other."""
PER_STEP = (1, 2, 4, 4)
"""Sub-networks a step in each of these stages."""
PLAIN = exit_training({})


@dataclass(frozen=True, slots=True)
class Rule:
    """How one trial trains: its config, read. `distill`: the share of the soft labels in a sub-network's loss."""

    space: ElasticSpace
    training: str
    samples: int
    stage: int
    seed: int
    chain: tuple[SubnetSpec, ...] = ()
    exits: ExitTraining = PLAIN

    def stage_of(self, epoch: int) -> int:
        """0: the biggest alone; 1 to 4: so many of STAGES are elastic. For `progressive`; epochs count from 1."""
        return min((epoch - 1) // self.stage, len(STAGES))

    def begins(self, epoch: int) -> bool:
        """Whether a stage of `progressive` begins with this epoch, the first apart."""
        return self.training == "progressive" and epoch > 1 and self.stage_of(epoch) != self.stage_of(epoch - 1)

    def rng(self, epoch: int, batch: int) -> Generator:
        return np.random.default_rng([self.seed % 2**63, epoch, batch, 12])

    def drawn(self, epoch: int, batch: int) -> list[SubnetSpec]:
        """The sub-networks that a batch trains beside the biggest (instead of it, in `sorted` and while shrinking)."""
        rng = self.rng(epoch, batch)
        match self.training:
            case "sandwich":
                random = [self.space.sample(rng) for _ in range(self.samples)]
                return [subnet(self.space, genome) for genome in (self.space.extreme(False), *random)]
            case "sorted":
                return [self.chain[int(rng.integers(len(self.chain)))] for _ in range(self.samples)]
            case _:
                stage = self.stage_of(epoch)
                if stage == 0:
                    return []
                count = PER_STEP[stage - 1]
                genomes = (restricted(self.space, self.space.sample(rng), stage) for _ in range(count))
                return [subnet(self.space, genome) for genome in genomes]


def rule_of(space: ElasticSpace, config: Mapping[str, Any], seed: int, defaults: Mapping[str, Any]) -> Rule:
    """The rule of a nested config."""
    training, samples, stage = (config.get(n, defaults[n]) for n in ("training", "samples", "stage"))
    chain = tuple(subnet(space, genome) for genome in space.chain()) if training == "sorted" else ()
    return Rule(space, str(training), int(samples), int(stage), seed, chain, exits_of(config))


def restricted(space: ElasticSpace, genome: Genome, stage: int) -> dict[str, Any]:
    """`genome` with the largest of everything that is not elastic yet in a stage of `progressive`; resolution is
    elastic from the first on."""
    elastic = STAGES[:stage]
    units = []
    for u, said in enumerate(genome["units"]):
        options = space.choices(u)
        depth = said["depth"] if "depth" in elastic else options["depth"][-1]
        changed: dict[str, Any] = {"depth": depth}
        for name in PER_BLOCK:
            if name in elastic:  # blocks that this brings back have the largest genes
                changed[name] = [*said[name], *[options[name][-1]] * (depth - len(said[name]))][:depth]
            else:
                changed[name] = [options[name][-1]] * depth
        units.append(changed)
    return {**genome, "units": units}


def train_batch(
    net: Supernet, rule: Rule, x: Tensor, y: Tensor, epoch: int, batch: int, distill: float, teacher: Supernet | None
) -> float:
    """Gradients of one batch, added up over its sub-networks; answers the loss of the first of them.

    A sub-network's loss: (1 - distill) x cross-entropy + distill x divergence from the teacher's probabilities; with
    early exits Σ weight x that of each exit, the teacher's probabilities those of its last. The sum over n sub-networks
    is not divided: BigNAS and Once-for-All add gradients.
    """
    labels = loss_of(rule.exits)
    weights = loss_weights(rule.exits.weights, len(rule.space.exits) + 1)
    backward: Callable[[Tensor], None] = torch.autograd.backward
    drawn = rule.drawn(epoch, batch)
    biggest = net.biggest
    if rule.training == "sorted":
        losses = [labels(net.exits(x, spec), y) for spec in drawn]
        backward(torch.stack(losses).mean())
        return float(losses[0].detach())
    soft: Tensor | None = None
    first: float | None = None
    if rule.training == "sandwich" or not drawn:
        found = net.exits(x, biggest)
        loss = labels(found, y)
        backward(loss)
        soft, first = found[-1].detach().softmax(1), float(loss.detach())
    elif teacher is not None:
        with torch.no_grad():
            soft = teacher(x, biggest).softmax(1)
    for spec in drawn:
        found = net.exits(x, spec)
        loss = found[-1].new_zeros(())
        if soft is not None and distill > 0:
            told = [functional.kl_div(one.log_softmax(1), soft, reduction="batchmean") for one in found]
            loss = loss + distill * sum(w * part for w, part in zip(weights, told, strict=True))
        if distill < 1 or soft is None:
            loss = loss + (1 - distill if soft is not None else 1.0) * labels(found, y)
        backward(loss)
        first = float(loss.detach()) if first is None else first
    return 0.0 if first is None else first


def ladder(space: ElasticSpace, count: int) -> Sequence[Genome]:
    """Links of the nested chain, evenly, from the smallest to the biggest: what to look at before any search."""
    chain = space.chain()
    places = np.unique(np.linspace(0, len(chain) - 1, min(count, len(chain))).round().astype(int))
    return [chain[int(i)] for i in places]
