"""How losses at different rungs hang together: families of covariances over (config, resource).

A family turns its parameters into three tables over K rungs, so that

    mean(x, r)            = mean[r]
    cov((x, r), (x', r')) = k_x(x, x') · scale[r, r'] + shift[r, r']

`exp-decay`: a freeze-thaw-like decay of the loss towards a level of the config,
    kappa(r) = (beta / (r + beta))^alpha, beta = alpha / lam: an exponential decay whose rate is gamma distributed.
`exp-decay-sum`: the same with delta = 0: the decay is common to all configs.
`product`: scale is a Matérn-5/2 over the place of the rung in its ladder.
`independent`: rungs share the length scales of k_x and nothing else; targets are standardised a rung.

Sources: Swersky, Snoek, Adams (2014), arXiv:1406.3896 (the decay kernel); Klein, Tiao, Lienart, Archambeau, Seeger
(2020), arXiv:2003.10865, MOBSTER.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Tables:
    """`scale`, `shift` [K, K] and `mean` [K] of a family at given parameters."""

    scale: Floats
    shift: Floats
    mean: Floats


class Family(Protocol):
    """`start`, `sd` [p]: mean and standard deviation of the normal prior over the parameters; `low`, `high`: bounds.

    `by_rung`: whether targets are standardised a rung instead of together.
    """

    start: Floats
    sd: Floats
    low: Floats
    high: Floats
    by_rung: bool

    def tables(self, parameters: Floats) -> Tables:
        """The tables at these parameters [p]."""
        ...


class ExpDecay:
    """Parameters: log alpha, log lam, log gamma, mu and, unless it is 0, the logit of delta. `resources` [K] in any
    unit in which the first rung is about 1."""

    by_rung = False

    def __init__(self, resources: Floats, *, delta: bool) -> None:
        self._r = resources
        self._delta = delta
        n = 5 if delta else 4
        self.start = np.array([0.0, np.log(0.5), np.log(0.5), 0.0, 0.0])[:n]
        self.sd = np.array([1.0, 1.0, 1.0, 1.0, 1.5])[:n]
        self.low = np.array([np.log(1e-2), np.log(1e-4), np.log(1e-2), -4.0, -5.0])[:n]
        self.high = np.array([np.log(250.0), np.log(50.0), np.log(4.0), 4.0, 5.0])[:n]

    def tables(self, parameters: Floats) -> Tables:
        alpha, lam, gamma = np.exp(parameters[:3]).tolist()
        delta = float(1 / (1 + np.exp(-parameters[4]))) if self._delta else 0.0
        return exp_decay(self._r, alpha, lam, gamma, delta, float(parameters[3]))


class Product:
    """One parameter: the log of the length scale. `places` [K]: rungs in [0, 1]."""

    by_rung = False

    def __init__(self, places: Floats) -> None:
        self._gaps = np.abs(places[:, None] - places[None])
        self.start, self.sd = np.array([np.log(1.0)]), np.array([1.0])
        self.low, self.high = np.array([np.log(0.05)]), np.array([np.log(20.0)])

    def tables(self, parameters: Floats) -> Tables:
        root = np.sqrt(5) * self._gaps / np.exp(parameters[0])
        k = len(root)
        return Tables((1 + root + root * root / 3) * np.exp(-root), np.zeros((k, k)), np.zeros(k))


class Independent:
    """No parameters."""

    by_rung = True

    def __init__(self, rungs: int) -> None:
        self._k = rungs
        self.start = self.sd = self.low = self.high = np.zeros(0)

    def tables(self, parameters: Floats) -> Tables:  # noqa: ARG002
        return Tables(np.eye(self._k), np.zeros((self._k, self._k)), np.zeros(self._k))


FAMILIES = ("exp-decay", "exp-decay-sum", "product", "independent")


def family(name: str, steps: tuple[int, ...]) -> Family:
    """The family of that name over the rung `steps` [K], ascending."""
    resources = np.array(steps, dtype=np.float64)
    match name:
        case "exp-decay" | "exp-decay-sum":
            return ExpDecay(resources / resources[0], delta=name == "exp-decay")
        case "product":
            places = np.log(resources / resources[0])
            return Product(places / max(float(places[-1]), 1.0))
        case "independent":
            return Independent(len(steps))
        case _:
            raise ValueError(f"there is no family {name!r}: known are {', '.join(FAMILIES)}")


def kappa(r: Floats, alpha: float, beta: float) -> Floats:
    """The share of the decay that is left after resource `r`, 1 at r = 0."""
    return np.asarray((beta / (r + beta)) ** alpha)


def exp_decay(r: Floats, alpha: float, lam: float, gamma: float, delta: float, mu: float) -> Tables:
    """The decay family at rungs `r` [K]; `mu`: the mean level of configs (mu_x)."""
    beta = alpha / lam
    one = kappa(r, alpha, beta)
    both = kappa(r[:, None] + r[None], alpha, beta)
    drop = gamma - delta * mu
    return Tables(
        scale=1 - delta * (one[:, None] + one[None] - delta * both),
        shift=drop * drop * (both - one[:, None] * one[None]),
        mean=mu + drop * one,
    )
