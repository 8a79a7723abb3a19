"""What a sub-network's error will be, learned from a few that were measured. Small, NumPy only, deterministic."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(slots=True)
class Ridge:
    """Linear regression with an L2 penalty; what was not measured is predicted as the mean."""

    alpha: float = 1.0
    _mean: Array = field(default_factory=lambda: np.zeros(0))
    _weights: Array = field(default_factory=lambda: np.zeros(0))
    _level: float = 0.0

    def fit(self, x: Array, y: Array) -> Ridge:
        """`x` [n, features], `y` [n]."""
        self._mean, self._level = x.mean(0).astype(np.float64), float(y.mean())
        centred = x - self._mean
        gram = centred.T @ centred + self.alpha * np.eye(x.shape[1])
        self._weights = np.linalg.solve(gram, centred.T @ (y - self._level)).astype(np.float64)
        return self

    def predict(self, x: Array) -> Array:
        """[n]."""
        return np.asarray((x - self._mean) @ self._weights + self._level)


class Transferred:
    """A multi-layer perceptron over architectures that learns of bits later (APQ: Wang et al., 2020, CVPR).

    `fit` trains it on architectures [n, a] at full precision; `tune` goes on with pairs of architecture and
    quantization features [n, q], which enter the first hidden layer by a second linear map that begins as zero: with no
    quantization features, and before any tuning, it predicts what the full-precision predictor does.
    """

    def __init__(self, architecture: int, quantization: int, hidden: int = 32, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)

        def layer(inputs: int, outputs: int) -> Array:
            return rng.normal(0.0, np.sqrt(2.0 / max(1, inputs)), (inputs, outputs))

        self._p: list[Array] = [
            layer(architecture, hidden), np.zeros(hidden), layer(hidden, hidden), np.zeros(hidden),
            layer(hidden, hidden), np.zeros(hidden), layer(hidden, 1), np.zeros(1), np.zeros((quantization, hidden)),
        ]  # fmt: skip
        self._level, self._scale = 0.0, 1.0

    def fit(self, x: Array, y: Array, epochs: int = 300) -> Transferred:
        """Train on full precision alone; the map of quantization features stays zero."""
        self._level, self._scale = float(y.mean()), float(y.std()) or 1.0
        self._descend(x, np.zeros((len(x), len(self._p[8]))), y, epochs, 1e-2)
        return self

    def tune(self, x: Array, q: Array, y: Array, epochs: int = 150) -> Transferred:
        """Go on, gently, with quantized pairs."""
        self._descend(x, q, y, epochs, 3e-3)
        return self

    def predict(self, x: Array, q: Array | None = None) -> Array:
        """[n]; without `q` at full precision."""
        q = np.zeros((len(x), len(self._p[8]))) if q is None else q
        return self._forward(x, q)[-1][:, 0] * self._scale + self._level

    def _forward(self, x: Array, q: Array) -> tuple[Array, ...]:
        w1, b1, w2, b2, w3, b3, w4, b4, wq = self._p
        one = np.maximum(x @ w1 + q @ wq + b1, 0)
        two = np.maximum(one @ w2 + b2, 0)
        three = np.maximum(two @ w3 + b3, 0)
        return one, two, three, three @ w4 + b4

    def _descend(self, x: Array, q: Array, y: Array, epochs: int, rate: float, decay: float = 1e-2) -> None:
        """Adam over the whole set, mean squared error of the standardised target, decoupled weight decay."""
        target = (y - self._level) / self._scale
        first = [np.zeros_like(p) for p in self._p]
        second = [np.zeros_like(p) for p in self._p]
        for t in range(1, epochs + 1):
            _, _, w2, _, w3, _, w4, _, _ = self._p
            one, two, three, out = self._forward(x, q)
            d4 = 2 * (out - target[:, None]) / len(x)
            d3 = (d4 @ w4.T) * (three > 0)
            d2 = (d3 @ w3.T) * (two > 0)
            d1 = (d2 @ w2.T) * (one > 0)
            grads = [
                x.T @ d1, d1.sum(0), one.T @ d2, d2.sum(0), two.T @ d3, d3.sum(0), three.T @ d4, d4.sum(0), q.T @ d1,
            ]  # fmt: skip
            for i, g in enumerate(grads):
                first[i] = 0.9 * first[i] + 0.1 * g
                second[i] = 0.999 * second[i] + 0.001 * g * g
                step = first[i] / (1 - 0.9**t) / (np.sqrt(second[i] / (1 - 0.999**t)) + 1e-8)
                self._p[i] = self._p[i] * (1 - rate * decay * (self._p[i].ndim == 2)) - rate * step
