"""Problems with a known optimum that need no data: MF-Hartmann-6, a noisy valley, a conditional space."""

from __future__ import annotations

import zlib
from typing import ClassVar, Literal

import numpy as np

from bench.quality.spec import Curve, Param, Values, noise_of


class Hartmann:
    """Multi-fidelity Hartmann in 6 dimensions; whole trainings have no noise, short ones mislead by bias and noise.

    Steps z = 1..100 with λ = ln z / ln 100; reaching z costs 0.05 + 0.95 (z / 100)² s. Source: Kandasamy, Dasarathy,
    Schneider, Póczos (2017), ICML; the form of the low fidelities: mf-prior-bench (2023).
    """

    A = np.array([[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8],
                  [17, 8, 0.05, 10, 0.1, 14]])  # fmt: skip
    P = 1e-4 * np.array([[1312, 1696, 5569, 124, 8283, 5886], [2329, 4135, 8307, 3736, 1004, 9991],
                         [2348, 1451, 3522, 2883, 3047, 6650], [4047, 8828, 8732, 5743, 1091, 381]])  # fmt: skip
    ALPHA = np.array([1.0, 1.2, 3.0, 3.2])
    KINDS: ClassVar = {"good": (0.5, 0.1), "mid": (1.5, 1.0), "bad": (2.5, 2.0)}
    """Bias and noise of the low fidelities."""

    incumbent: Literal["any", "full"] = "full"
    objectives = 1
    steps = 100
    worst = 10.0
    full_runs = 25.0
    space: tuple[Param, ...] = tuple(Param(f"x{i}", "float") for i in range(6))

    def __init__(self, kind: str) -> None:
        self.bias, self.noise = self.KINDS[kind]
        self.name = f"mfh6:{kind}"
        z = np.arange(1, 101)
        self._trust = np.log(z) / np.log(100)
        self._seconds = 0.05 + 0.95 * (z / 100) ** 2

    def curve(self, values: Values) -> Curve:
        x = np.array([values[f"x{i}"] for i in range(6)], dtype=float)
        peaks = np.exp(-(self.A * (x - self.P) ** 2).sum(axis=1))
        alpha = self.ALPHA[None] - self.bias * (1 - self._trust)[:, None]
        rng = np.random.default_rng(zlib.crc32(x.tobytes()))
        noise = np.abs(rng.normal(size=100)) * self.noise * (1 - self._trust)
        return Curve(-(alpha * peaks).sum(axis=1) + noise, self._seconds)


class NoisyValley:
    """Six parameters of a training in a curved, rippled valley. Every report has noise (sd 0.03, the last one too),
    every first step is alike, fast starters end anywhere, and a high rate with a high momentum diverges.

    An answer is judged by its loss without noise. The optimum is FLOOR at BEST, by construction.
    """

    FLOOR, NOISE = 0.08, 0.03
    BEST = (0.62, 0.75, 0.45, 0.80, 0.30, 0.35)
    """Places in [0, 1], in the order of the space."""

    name = "noisy"
    incumbent: Literal["any", "full"] = "full"
    objectives = 1
    steps = 81
    worst = 1.5
    full_runs = 25.0
    space: tuple[Param, ...] = (
        Param("rate", "float", 1e-5, 1.0, log=True),
        Param("momentum", "float", 0.5, 0.99),
        Param("decay", "float", 1e-6, 1e-1, log=True),
        Param("width", "float", 16, 512, log=True),
        Param("dropout", "float", 0.0, 0.6),
        Param("batch", "float", 16, 512, log=True),
    )

    def curve(self, values: Values) -> Curve:
        u = np.array([param.unit(values[param.name]) for param in self.space])
        rate, momentum, decay, width, dropout, batch = u - self.BEST
        along, across = rate - 0.5 * batch, momentum + 0.6 * rate
        bowl = 2.5 * along**2 + 1.2 * across**2 + 0.5 * decay**2 + 0.8 * width**2 + 0.6 * (dropout - 0.5 * width) ** 2
        bowl += 0.3 * batch**2 + 0.04 * (1 - np.cos(6 * np.pi * along))
        final = self.FLOOR + (1 - self.FLOOR) * (1 - np.exp(-bowl))
        t = np.arange(1, self.steps + 1)
        power = 0.3 + 1.2 * u[0] + 0.3 * (1 - u[3])  # high rates and narrow networks start fast
        g = (t**-power - self.steps**-power) / (1 - self.steps**-power)
        losses = final + (1 - final) * g + self.NOISE * noise_of(values).normal(size=self.steps)
        over = u[0] + 0.3 * u[1] - 1.08
        if over > 0:
            losses[max(0, int(12 * (1 - 4 * over))) :] = np.nan
        seconds = (0.3 + 0.7 * u[3] ** 2) * (1.6 - u[5]) * t
        return Curve(losses, seconds, truth=float(final) if over <= 0 else self.worst)


class Conditional:
    """Which model, and its own parameters, down to the optimizer of one of them: 16 names, 2 to 8 of them active.

    `trees` are good at once and nearly at once done; `net` with `adam` ends best, in a narrow bowl; `linear` never
    gets far. The optimum is FLOORS["net.adam"] at BEST, by construction.
    """

    FLOORS: ClassVar = {"linear": 0.30, "trees": 0.10, "net.sgd": 0.07, "net.adam": 0.03}
    BEST: ClassVar = {
        "model.linear.l2": 0.4,
        "model.trees.rounds": 0.7, "model.trees.depth": 0.4, "model.trees.rate": 0.55, "model.trees.rows": 0.8,
        "model.net.width": 0.75, "model.net.depth": 0.5, "model.net.dropout": 0.2,
        "model.net.optimizer.sgd.lr": 0.7, "model.net.optimizer.sgd.momentum": 0.8,
        "model.net.optimizer.adam.lr": 0.45, "model.net.optimizer.adam.beta2": 0.65,
        "model.net.optimizer.adam.decay": 0.3,
    }  # fmt: skip
    STEEP: ClassVar = {"linear": 1.0, "trees": 1.2, "net.sgd": 2.0, "net.adam": 2.5}

    name = "conditional"
    incumbent: Literal["any", "full"] = "full"
    objectives = 1
    steps = 27
    worst = 1.5
    full_runs = 25.0
    space: tuple[Param, ...] = (
        Param("model", "choice", options=("linear", "trees", "net")),
        Param("model.linear.l2", "float", 1e-6, 1.0, log=True, when=("model", "linear")),
        Param("model.trees.rounds", "float", 10, 1000, log=True, when=("model", "trees")),
        Param("model.trees.depth", "int", 2, 12, when=("model", "trees")),
        Param("model.trees.rate", "float", 1e-3, 1.0, log=True, when=("model", "trees")),
        Param("model.trees.rows", "float", 0.3, 1.0, when=("model", "trees")),
        Param("model.net.width", "float", 16, 1024, log=True, when=("model", "net")),
        Param("model.net.depth", "int", 1, 9, when=("model", "net")),
        Param("model.net.dropout", "float", 0.0, 0.6, when=("model", "net")),
        Param("model.net.act", "choice", options=("relu", "tanh", "gelu"), when=("model", "net")),
        Param("model.net.optimizer", "choice", options=("sgd", "adam"), when=("model", "net")),
        Param("model.net.optimizer.sgd.lr", "float", 1e-4, 1.0, log=True, when=("model.net.optimizer", "sgd")),
        Param("model.net.optimizer.sgd.momentum", "float", 0.0, 0.99, when=("model.net.optimizer", "sgd")),
        Param("model.net.optimizer.adam.lr", "float", 1e-5, 1e-1, log=True, when=("model.net.optimizer", "adam")),
        Param("model.net.optimizer.adam.beta2", "float", 0.9, 0.9999, when=("model.net.optimizer", "adam")),
        Param("model.net.optimizer.adam.decay", "float", 1e-6, 1e-1, log=True, when=("model.net.optimizer", "adam")),
    )

    def curve(self, values: Values) -> Curve:
        model = values["model"]
        branch = f"net.{values['model.net.optimizer']}" if model == "net" else model
        bowl = 0.0
        for param in self.space:
            if param.name in self.BEST and param.name in values:
                place = param.unit(values[param.name])
                bowl += self.STEEP[branch] * (place - self.BEST[param.name]) ** 2
        bowl += {"relu": 0.05, "tanh": 0.15, "gelu": 0.0}.get(values.get("model.net.act", "gelu"), 0.0)
        floor = self.FLOORS[branch]
        final = floor + (1 - floor) * (1 - np.exp(-bowl))
        t = np.arange(1, self.steps + 1)
        power = {"linear": 2.0, "trees": 1.5, "net.sgd": 0.4, "net.adam": 0.6}[branch]
        g = (t**-power - self.steps**-power) / (1 - self.steps**-power)
        each = {"linear": 0.2, "trees": 0.6}.get(branch, 0.5)
        if model == "net":
            each += 1.5 * self.space[6].unit(values["model.net.width"]) * self.space[7].unit(values["model.net.depth"])
        return Curve(final + (1 - final) * g, each * t)
