"""CMA-ES: a normal distribution that learns its shape from ranked points, as values.

`State` is where it stands, `told` the next state after one ranked generation. The points need not be its own draws
(those of an earlier state, or anybody's): long steps are shortened to what a draw would be, after Hansen.

Sources: Hansen (2016), The CMA evolution strategy: a tutorial, arXiv:1604.00772 (equations 11 to 45, positive weights);
Hansen (2011), Injecting external solutions into CMA-ES, arXiv:1110.4181 (the shortening).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FIRST_SIGMA = 0.25
SIGMA = (1e-6, 0.5)
"""Bounds of the step size, in a unit cube."""
LEAST_EIGENVALUE = 1e-12


@dataclass(frozen=True, slots=True)
class State:
    """Mean [d], step size, covariance [d, d], the two evolution paths [d], and how many generations were told."""

    mean: Floats
    sigma: float
    covariance: Floats
    path_sigma: Floats
    path: Floats
    generation: int = 0


def begin(d: int) -> State:
    """The middle of the unit cube."""
    return State(np.full(d, 0.5), FIRST_SIGMA, np.eye(d), np.zeros(d), np.zeros(d))


def population(d: int) -> int:
    """The default size of a generation: 4 + floor(3 ln d)."""
    return 4 + int(3 * math.log(d))


def told(state: State, points: Floats) -> State:
    """After a generation `points` [n, d], the best first; its better half moves the distribution."""
    n, d = points.shape
    mu = n // 2
    weights = math.log((n + 1) / 2) - np.log(np.arange(1, mu + 1))
    weights /= weights.sum()
    mass = 1 / float((weights**2).sum())
    c_sigma = (mass + 2) / (d + mass + 5)
    damping = 1 + 2 * max(0.0, math.sqrt((mass - 1) / (d + 1)) - 1) + c_sigma
    c_path = (4 + mass / d) / (d + 4 + 2 * mass / d)
    c_one = 2 / ((d + 1.3) ** 2 + mass)
    c_mu = min(1 - c_one, 2 * (mass - 2 + 1 / mass) / ((d + 2) ** 2 + mass))
    typical = math.sqrt(d) * (1 - 1 / (4 * d) + 1 / (21 * d * d))
    longest = math.sqrt(d) + 2 * d / (d + 2)

    values, vectors = np.linalg.eigh(state.covariance)
    roots = np.sqrt(np.maximum(values, LEAST_EIGENVALUE))
    whiten = (vectors / roots) @ vectors.T
    steps = (points[:mu] - state.mean) / state.sigma
    lengths = np.linalg.norm(steps @ whiten, axis=1)
    steps = steps * np.minimum(1.0, longest / np.maximum(lengths, 1e-300))[:, None]
    move = weights @ steps

    path_sigma = (1 - c_sigma) * state.path_sigma + math.sqrt(c_sigma * (2 - c_sigma) * mass) * (whiten @ move)
    length = float(np.linalg.norm(path_sigma))
    generation = state.generation + 1
    settled = math.sqrt(1 - (1 - c_sigma) ** (2 * generation))
    going = length / settled < (1.4 + 2 / (d + 1)) * typical
    path = (1 - c_path) * state.path + going * math.sqrt(c_path * (2 - c_path) * mass) * move
    lost = 0.0 if going else c_one * c_path * (2 - c_path)
    covariance = (
        (1 - c_one - c_mu + lost) * state.covariance
        + c_one * np.outer(path, path)
        + c_mu * (steps.T * weights) @ steps
    )
    sigma = state.sigma * math.exp(min(1.0, c_sigma / damping * (length / typical - 1)))
    return State(
        np.clip(state.mean + state.sigma * move, 0.0, 1.0),
        min(max(sigma, SIGMA[0]), SIGMA[1]),
        (covariance + covariance.T) / 2,
        path_sigma,
        path,
        generation,
    )


def draw(state: State, rng: Generator, tries: int = 10) -> Floats:
    """A point of the unit cube [d]; after so many draws beyond it, one at its border."""
    values, vectors = np.linalg.eigh(state.covariance)
    shape = vectors * np.sqrt(np.maximum(values, LEAST_EIGENVALUE))
    point = state.mean
    for _ in range(tries):
        point = state.mean + state.sigma * (shape @ rng.standard_normal(len(state.mean)))
        if (point >= 0).all() and (point <= 1).all():
            return np.asarray(point)
    return np.clip(point, 0.0, 1.0)
