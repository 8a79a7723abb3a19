"""MNIST-1D, generated: ten one-dimensional digits, moved, scaled, sheared and noised, 40 numbers a sample.

Small enough for a CPU, and still hard: a linear model gets about a third of it right, a multilayer perceptron two
thirds, a convolutional network more than nine in ten. Source: Greydanus, Kobak, "Scaling Down Deep Learning with
MNIST-1D", 2020; the templates and the sizes of the transformations are theirs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TEMPLATES = (
    (5, 6, 6.5, 6.75, 7, 7, 7, 7, 6.75, 6.5, 6, 5), (5, 3, 3, 3.4, 3.8, 4.2, 4.6, 5, 5.4, 5.8, 5, 5),
    (5, 6, 6.5, 6.5, 6, 5.25, 4.75, 4, 3.5, 3.5, 4, 5), (5, 6, 6.5, 6.5, 6, 5, 5, 6, 6.5, 6.5, 6, 5),
    (5, 4.4, 3.8, 3.2, 2.6, 2.6, 5, 5, 5, 5, 5, 5), (5, 3, 3, 3, 3, 5, 6, 6.5, 6.5, 6, 4.5, 5),
    (5, 4, 3.5, 3.25, 3, 3, 3, 3, 3.25, 3.5, 4, 5), (5, 7, 7, 6.6, 6.2, 5.8, 5.4, 5, 4.6, 4.2, 5, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 4, 3.5, 3.5, 4, 5), (5, 4, 3.5, 3.5, 4, 5, 5, 5, 5, 4.7, 4.3, 5),
)  # fmt: skip
"""The pen's distance from a line, digit by digit."""
SIZE = 6.0
LENGTH = 40
PADDING = (36, 60)
MOST_SHIFT = 48
SCALE, SHEAR = 0.4, 0.75
SMOOTH_NOISE, NOISE = 0.25, 0.02
WIDTH = 2.0
"""Standard deviation of the filter that makes the noise around a digit smooth, in places."""


def generate(samples: int = 6000, seed: int = 42) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """(x [samples, LENGTH], y [samples]): as many of each digit as of any other; a function of the arguments."""
    rng = np.random.default_rng(seed)
    y = np.arange(samples) % len(TEMPLATES)
    x = np.stack([_sample(_template(int(digit)), rng) for digit in y])
    return x.astype(np.float32), y.astype(np.int64)


def _template(digit: int) -> NDArray[np.float64]:
    x = np.array(TEMPLATES[digit])
    x = (x - x.mean()) / x.std()
    return np.asarray((x - x[0]) / SIZE)


def _sample(x: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    padded = np.concatenate([x + 1e-8, np.zeros(int(rng.integers(PADDING[0], PADDING[1] + 1)))])
    full = _resampled(padded, len(x) + PADDING[1])
    scaled = full * (1 + SCALE * (rng.random() - 0.5))
    shifted = np.roll(scaled, int(rng.integers(MOST_SHIFT)))
    smooth = np.convolve(SMOOTH_NOISE * rng.standard_normal(len(shifted) + 2 * REACH), FILTER, mode="valid")
    noised = np.where(shifted == 0, smooth, shifted) + NOISE * rng.standard_normal(len(shifted))
    sheared = noised - SHEAR * (rng.random() - 0.5) * np.linspace(-0.5, 0.5, len(shifted))
    return _resampled(sheared, LENGTH)


def _resampled(x: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    return np.interp(np.linspace(0, 1, length), np.linspace(0, 1, len(x)), x)


REACH = int(4 * WIDTH)
FILTER = np.exp(-0.5 * (np.arange(-REACH, REACH + 1) / WIDTH) ** 2)
FILTER /= FILTER.sum()
