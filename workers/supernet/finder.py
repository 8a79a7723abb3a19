"""The sub-networks of one trial's super-network: measured, searched, and remembered from job to job."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from spaces.builtin.supernet import COSTS, SupernetForm
from spaces.elastic import ElasticSpace, Genome, key
from spaces.predictor import Predictor
from spaces.subnets import SubnetSpec, subnet
from workers.data import Data
from workers.nets.elastic import Supernet
from workers.nets.subnet import cut
from workers.nets.subnet_graph import build
from workers.supernet.evolution import Bounds
from workers.supernet.search import Plan, front, search
from workers.supernet.table import Predicted, Table, Whole
from workers.supernet.training import ladder
from workers.tasks.exits import expected_cost
from workers.tasks.thresholds import operating_points

WHOLES = 3
"""Whole sub-networks that the sums of operators are put to scale by."""


class Finder:
    """`saved`: the `state` of an earlier job. `nested`: the super-network was trained in nested order, and its chain is
    all that is looked at. `predictor`: what latencies are predicted by, as JSON; None: operators are timed here.
    `rule`: by which samples leave at early exits."""

    def __init__(
        self, net: Supernet, data: Data, options: Mapping[str, Any], objectives: Sequence[str],
        saved: Mapping[str, Any], nested: bool = False, predictor: Mapping[str, Any] | None = None,
        rule: str = "probability",
    ) -> None:  # fmt: skip
        form = SupernetForm.model_validate(options)
        said = form.search
        asked = tuple(name for name in COSTS if name in objectives)
        bounds = Bounds({k: float(v) for k, v in said.at_most.items()})
        self.plan = Plan(said.method, said.evaluations, asked or ("macs",), bounds, form.points, said.population,
                         said.generations)  # fmt: skip
        self.net, self.data, self.every, self.nested, self.rule = net, data, said.every, nested, rule
        self.timed = "latency_ms" in (*asked, *bounds.at_most)
        self.table: Table | Predicted = Table(saved.get("table"))
        if predictor is not None:
            self.table = Predicted(Predictor.of_json(predictor))
        self.known: list[Genome] = list(saved.get("known") or ())
        self.sample = data.train.x[calibration(len(data.train), form.calibration)]
        self._known_costs: dict[str, dict[str, float]] = {}

    @property
    def space(self) -> ElasticSpace:
        return self.net.space

    def state(self) -> dict[str, Any]:
        """What a later job of the trial gets as `saved`."""
        return {"known": list(self.known), "table": dict(self.table.ms)}

    def check(self) -> None:
        """Time a few whole sub-networks where latencies count; Infeasible when the bounds leave no sub-network."""
        if self.timed:
            self.table.scale(self._whole(genome) for genome in ladder(self.space, WHOLES))
        self.plan.bounds.check(self.space, self.costs)

    def _whole(self, genome: Genome) -> Whole:
        spec = subnet(self.space, genome)
        return spec.operators, lambda: build(cut(self.net, spec, self.sample))

    def costs(self, genome: Genome) -> dict[str, float]:
        """What a sub-network costs; its latency only where somebody asks for it."""
        name = key(genome)
        found = self._known_costs.get(name)
        if found is None:
            spec = subnet(self.space, genome)
            found = dict(spec.metrics)
            if self.timed:
                found["latency_ms"] = self.table.latency(spec.operators)
            self._known_costs[name] = found
        return found

    def biggest(self) -> dict[str, float]:
        """`val_error` and `val_loss` of the biggest sub-network; NaN once it has diverged."""
        error, loss = self._measure(self.space.extreme(True))
        return {"val_error": error, "val_loss": loss}

    def _cumulative(self, spec: SubnetSpec) -> list[float]:
        """What a sub-network costs until each exit answers: milliseconds where they count, else multiplications."""
        chains = [[step.operator for step in spec.prefix(k)] for k in range(len(spec.segments))]
        if self.timed:
            return [self.table.latency(chain) for chain in chains]
        return [float(sum(operator.macs for operator in chain)) for chain in chains]

    def points(self, epoch: int, seed: int) -> list[dict[str, Any]]:
        """The operating points of this step."""
        if epoch % self.every == 0:
            rng = np.random.default_rng([seed % 2**63, epoch, 34])
            self.known = search(
                self.space, self.plan, lambda g: self._measure(g)[0], self.costs, rng, self.known, self.nested
            )
        genomes = self.known or [g for g in ladder(self.space, self.plan.points) if self._fits(g)]
        genomes = genomes or [self.space.extreme(False)]
        found = [point for genome in genomes for point in self._points(genome)]
        return [found[i] for i in front(found, self.plan)]

    def _points(self, genome: Genome) -> list[dict[str, Any]]:
        """The operating points of a sub-network: itself; with early exits, one for each vector of thresholds."""
        if not self.space.exits:
            return [self._point(genome, self._measure(genome)[0])]
        spec = subnet(self.space, genome)
        logits = [one.numpy() for one in cut(self.net, spec, self.sample).exits(self.data.val.x)]
        costs, out = self._cumulative(spec), []
        for said in operating_points(self.rule, logits, self.data.val.y.numpy(), costs):
            point = {**self._point(genome, said["val_error"]), **said}
            if self.timed:
                point["latency_ms"] = expected_cost(said["exit_rates"], costs)
            out.append(point)
        return out

    def lost(self) -> list[dict[str, Any]]:
        """The one point of a super-network that has diverged."""
        return [self._point(self.space.extreme(True), math.nan)]

    def _fits(self, genome: Genome) -> bool:
        return self.plan.bounds.hold(self.costs(genome))

    def _point(self, genome: Genome, error: float) -> dict[str, Any]:
        return {"subnet": genome, "val_error": error, **self.costs(genome)}

    @torch.no_grad()
    def _measure(self, genome: Genome) -> tuple[float, float]:
        found = cut(self.net, subnet(self.space, genome), self.sample)
        return judged(found(self.data.val.x), self.data.val.y)


def judged(logits: Tensor, y: Tensor) -> tuple[float, float]:
    """(error in percent, mean cross-entropy); NaN when the logits are not finite."""
    if not bool(torch.isfinite(logits).all()):
        return math.nan, math.nan
    return 100.0 * float((logits.argmax(1) != y).float().mean()), float(functional.cross_entropy(logits, y))


def calibration(count: int, wanted: int) -> Tensor:
    """Indices of the training samples that batch norm statistics are taken on: the same for all of a study."""
    order = np.random.default_rng([0, count]).permutation(count)
    return torch.from_numpy(np.sort(order[: min(wanted, count)]))
