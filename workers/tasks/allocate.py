"""Bit allocations of a trained network as operating points: other weight bits a block, without training again.

`hawq` and `calibration` solve an integer program for each byte limit of a sweep and try its five best truly;
`bisection` lowers as many blocks as a tolerance allows, for a sweep of tolerances; `evolution` switches levels under
each byte limit. "Truly" is the loss of the rebuilt network on a calibration sample of the training part; the
validation part is looked at once an allocation, for what is reported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from spaces.allocating import AllocateForm, Ground, ground
from spaces.allocation import Limit, Table, allocate, bisect
from spaces.errors import SpaceError
from spaces.level_switch import evolve, groups_of, start, swap, switch
from spaces.nets import NetSpec
from workers.bits import costs
from workers.bits.adaquant import adapt
from workers.bits.rebuild import Scales, rebuilt, spec_at, weights_of
from workers.bits.sensitivity import degradations, order, perturbation, traces
from workers.bits.units import Choice, Units
from workers.data import Data, Part
from workers.nets.modules import Net
from workers.tasks.exits import expected_cost

Evaluate = Callable[[Net, Part], tuple[dict[str, float], list[dict[str, Any]]]]
"""(metrics, operating points) of a network: `workers.tasks.classify.evaluate`."""

SAMPLE = 256
"""Calibration samples; a quarter of them for curvature and the first stage of evolution."""
BEST = 5
"""Solutions of an integer program that are tried truly: the sum of losses is only nearly the loss of the sum."""
EXIT_POINTS = 4
"""Exit thresholds of an allocation that are reported, at the most."""
GENERATIONS, CHILDREN, SURVIVORS = 8, 8, (4, 1)
LATENCIES = ("latency_ms", "latency_p95_ms")


def form_of(options: Mapping[str, Any]) -> AllocateForm | None:
    """What a classify task says of allocations; None when it says nothing."""
    said = options.get("allocate")
    return None if said is None else AllocateForm.model_validate(said)


def sample(part: Part) -> tuple[Tensor, Tensor]:
    """(x, y) of up to SAMPLE samples, evenly over `part`."""
    index = torch.linspace(0, len(part) - 1, min(SAMPLE, len(part))).round().long()
    return part.x[index], part.y[index]


def tuning(options: Mapping[str, Any]) -> str:
    """How an allocation is tuned after it was quantized: as the task says, else `norm`."""
    said = form_of(options)
    return "norm" if said is None else said.tune


def deployed(net: Net, bits: Sequence[float | int | str], data: Data, how: str) -> Net:
    """The network of an allocation as it is reported and exported; `how`: see `tuning`."""
    x, _ = sample(data.train)
    tune: Callable[[Net], None] | None = None
    if how == "adaquant":

        def tune(new: Net) -> None:
            adapt(new, net.eval(), x)

    return rebuilt(net, bits, x, retune=how != "none", before_tuning=tune)


def points(
    net: Net, config: Mapping[str, Any], data: Data, said: AllocateForm, evaluate: Evaluate, *,
    seed: int = 0, wanted: Sequence[str] = (),
) -> list[dict[str, Any]]:  # fmt: skip
    """Operating points of the trained `net` (left as it is) with the allocations of a sweep, fewest bytes first.

    Each has `bits` (one a block), `bytes`, `bops`, `kernel_bits`, what `evaluate` says, and with a latency among
    `wanted` metrics its own, measured here once a signature. SpaceError when limits cannot be met.
    """
    training = net.training
    net.eval()
    search = _Search(net, ground(config, data.shape, data.classes, said), said, data, seed)
    own = net.spec
    out = []
    for choice in sorted(search.found(), key=lambda c: (search.total("bytes", c), c)):
        bits = search.bits(choice)
        spec = spec_at(own, bits)
        if spec != own:
            out += _reported(deployed(net, bits, data, said.tune), bits, data.val, evaluate, own, wanted)
    net.train(training)
    return out


def _reported(
    net: Net, bits: Sequence[float | int | str], val: Part, evaluate: Evaluate, own: NetSpec, wanted: Sequence[str]
) -> list[dict[str, Any]]:
    spec = net.spec
    metrics, exits = evaluate(net, val)
    last = len(spec.exits) - 1
    exact = {"bits": list(bits), "bytes": float(spec.bytes), "bops": float(spec.bops)}
    exact["kernel_bits"] = [block.layer.kernel_bits for block in spec.blocks]
    timed = None
    if not set(LATENCIES).isdisjoint(wanted) and spec.signature(last) != own.signature(last):
        timed = costs.cumulative(spec)
    out = []
    for point in thinned(exits):
        rates = point.get("exit_rates")
        latency = {} if timed is None or rates is None else {
            name: expected_cost(rates, cost) for name, cost in zip(LATENCIES, timed, strict=True)
        }  # fmt: skip
        out.append({"val_loss": metrics["val_loss"], **exact, **latency, **point})
    return out


def thinned(exits: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """At most EXIT_POINTS of the points, evenly, the ends among them."""
    if len(exits) <= EXIT_POINTS:
        return list(exits)
    return [exits[round(i)] for i in np.linspace(0, len(exits) - 1, EXIT_POINTS).tolist()]


class _Search:
    """The allocations of one network. Every rebuilt network's loss is looked up once."""

    def __init__(self, net: Net, on: Ground, said: AllocateForm, data: Data, seed: int) -> None:
        self._net, self._on, self._said = net, on, said
        self._x, self._y = sample(data.train)
        self._seed = seed % 2**63
        self._scales: Scales = {}
        self._losses: dict[tuple[Choice, int], float] = {}
        self._depth, self._widths = len(on.spec.blocks), len(on.widths)
        self._tables: dict[str, Table] = dict(on.costs)
        bounds = said.bounds()
        if "latency_ms" in bounds:
            self._tables["latency_ms"] = costs.table(tuple(spec_at(net.spec, [w] * self._depth) for w in on.widths))
        self._limits = {name: Limit(self._tables[name], value) for name, value in bounds.items()}

    def found(self) -> list[Choice]:
        """The allocations of the sweep, each once. SpaceError when the limits leave none."""
        match self._said.by:
            case "hawq":
                return self._programs(self._curvature())
            case "calibration":
                return self._programs(degradations(self.loss, self._depth, self._widths))
            case "bisection":
                return self._bisections()
            case "evolution":
                return self._evolutions()

    def bits(self, choice: Choice) -> list[float | int | str]:
        """The widths of a choice, one a block."""
        return [self._on.widths[c] for c in choice]

    def total(self, cost: str, choice: Choice) -> float:
        """What an allocation costs by a table."""
        return float(sum(row[c] for row, c in zip(self._tables[cost], choice, strict=True)))

    def loss(self, choice: Choice, kl: int = 0) -> float:
        """Cross-entropy of the rebuilt network on the calibration sample, mean over the exits; `kl`: instead its
        Kullback-Leibler divergence from the trained network on so many of the samples."""
        if (choice, kl) not in self._losses:
            retune = self._said.tune != "none"
            new = rebuilt(self._net, self.bits(choice), self._x, retune=retune, scales=self._scales)
            loss = self._divergence(new, kl) if kl else self._entropy(new, len(self._x)).item()
            self._losses[choice, kl] = loss
        return self._losses[choice, kl]

    def _entropy(self, net: Net, count: int) -> Tensor:
        logits = net(self._x[:count])
        return torch.stack([functional.cross_entropy(one, self._y[:count]) for one in logits]).mean()

    @torch.no_grad()
    def _divergence(self, net: Net, count: int) -> float:
        x = self._x[:count]
        both = [(a.log_softmax(1), b.log_softmax(1)) for a, b in zip(self._net(x), net(x), strict=True)]
        return float(np.mean([float((p.exp() * (p - q)).sum(1).mean()) for p, q in both]))

    def _curvature(self) -> list[list[float]]:
        """Ω [blocks][widths] of HAWQ: mean trace of the float network times the squared change of the weights."""
        plain = rebuilt(self._net, [32] * self._depth, self._x, retune=False)
        groups = [[w.matrix for w in weights_of(plain, i)] for i in range(self._depth)]
        generator = torch.Generator().manual_seed(self._seed % 2**63)
        quarter = len(self._x) // 4
        found = traces(lambda: self._entropy(plain, quarter), groups, generator)
        out: list[list[float]] = [[] for _ in groups]
        for width in self._on.widths:
            new = rebuilt(self._net, [width] * self._depth, self._x, retune=False, scales=self._scales)
            with torch.no_grad():
                for i, (trace, group) in enumerate(zip(found, groups, strict=True)):
                    out[i].append(perturbation(trace, group, [w() for w in weights_of(new, i)]))
        return out

    def _sweep(self) -> list[float]:
        """Byte limits from the least to the most, each the same share more; a single one halfway, as in HAWQ-V3."""
        low, high = self._on.least("bytes"), min(self._on.most("bytes"), self._said.bounds().get("bytes", np.inf))
        if self._said.points == 1:
            return [low + 0.5 * (high - low)]
        return [low, *np.geomspace(low, high, self._said.points)[1:-1].tolist(), high]

    def _programs(self, loss: Table) -> list[Choice]:
        out: dict[Choice, None] = {}
        refusal: SpaceError | None = None
        for at_most in self._sweep():
            limits = {**self._limits, "bytes": Limit(self._tables["bytes"], at_most)}
            try:
                best = allocate(loss, limits, ties=self._on.ties, fixed=self._on.fixed, count=BEST)
            except SpaceError as error:
                refusal = error
                continue
            kept = [b.choice for b in best if self._truly(b.choice)]
            if kept:
                out.setdefault(min(kept, key=lambda c: (self.loss(c), c)))
        return self._some(out, refusal)

    def _bisections(self) -> list[Choice]:
        units = Units.of(self._on)
        n, top = len(units.blocks), self._widths - 1
        own = self._curvature()
        base = self.loss(units.choice([top] * n))
        worst = max(self.loss(units.choice([0] * n)) - base, 0.0)
        out: dict[Choice, None] = {}
        for step in range(self._said.points):
            share = 1.0 if self._said.points == 1 else step / (self._said.points - 1)
            levels = [top] * n
            for level in range(top, 0, -1):
                free = [u for u in range(n) if levels[u] == level]
                per_unit = [sum(own[i][level - 1] for i in blocks) for blocks in units.blocks]
                ranked = order(lambda c: self.loss(units.choice(c)), per_unit, tuple(levels), free)

                def lowered(k: int, ranked: list[int] = ranked, levels: list[int] = levels) -> list[int]:
                    return [c - (u in ranked[:k]) for u, c in enumerate(levels)]

                count, _ = bisect(
                    len(ranked), lambda k: self.loss(units.choice(lowered(k))) - base, worst * share**3, beyond=2
                )
                levels = lowered(count)
            choice = units.choice(levels)
            if self._keeps(choice):
                out.setdefault(choice)
        return self._some(out, None)

    def _evolutions(self) -> list[Choice]:
        units = Units.of(self._on)
        rng = np.random.default_rng([self._seed, 13])
        cost, held = units.table(self._tables["bytes"]), units.held(self._tables["bytes"])
        groups, top = groups_of(cost), self._widths - 1
        counts = (max(1, len(self._x) // 4), len(self._x))

        def fitness(candidates: Sequence[tuple[int, ...]], stage: int) -> list[float]:
            chosen = [units.choice(c) for c in candidates]
            return [self.loss(c, counts[stage]) if self._keeps(c) else np.inf for c in chosen]

        out: dict[Choice, None] = {}
        for at_most in self._sweep():
            budget = at_most - held

            def mutate(parent: tuple[int, ...], budget: float = budget) -> tuple[int, ...]:
                if groups and rng.random() < 0.5:
                    return switch(parent, groups, top, rng)
                return swap(parent, cost, budget, rng)

            first = [start(cost, budget, rng) for _ in range(4)]
            best, mark = evolve(
                first, mutate, fitness, generations=GENERATIONS, children=CHILDREN, survivors=SURVIVORS
            )
            if np.isfinite(mark):
                out.setdefault(units.choice(best))
        return self._some(out, None)

    def _keeps(self, choice: Choice) -> bool:
        """Whether an allocation keeps the limits that were said."""
        return all(self.total(n, choice) <= limit.at_most for n, limit in self._limits.items()) and self._truly(choice)

    def _truly(self, choice: Choice) -> bool:
        """Whether the measured latency of the whole network keeps its limit."""
        limit = self._limits.get("latency_ms")
        return limit is None or costs.cumulative(spec_at(self._net.spec, self.bits(choice)))[0][-1] <= limit.at_most

    def _some(self, out: Mapping[Choice, None], refusal: SpaceError | None) -> list[Choice]:
        if out:
            return list(out)
        if refusal is not None:
            raise refusal
        said = ", ".join(f"{name} at most {limit.at_most:g}" for name, limit in self._limits.items())
        raise SpaceError(f"no allocation that was tried keeps {said}: raise a limit, or allow more bits")
