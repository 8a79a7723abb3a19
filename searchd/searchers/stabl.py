"""Choosing among arms whose worth changes: a mixture of bandits that restart at every scale (StABL).

Expert k is an EXP3 bandit that forgets everything every 2^k rounds; a meta bandit weighs the experts. So on any
stretch of rounds some expert is young enough to know what is best now. A share of the rounds is drawn from a mixture
with the uniform distribution (the second query), which keeps every arm's estimate alive. Every round's loss is used,
weighted by the probability of its draw at the time of its draw: losses may come late and in any order.

Source: Lu and Hazan (2023), Efficient adaptive regret minimisation, arXiv:2207.00646, with one query a round (here a
round is a training run, and none is spent for the estimate alone).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SCALES = 11
"""Experts 0 … SCALES − 1: the oldest one forgets after 1024 rounds."""
LEAST_FACTOR = 0.5
"""One loss changes a weight by no more than this: estimates of rare arms are large."""
LEAST_WEIGHT = 1e-3
"""Of all experts together, evenly: who was wrong for long can come back."""


@dataclass(slots=True)
class Stabl:
    """Over `arms` arms; `explore`: share of the rounds drawn from the mixture with the uniform distribution."""

    arms: int
    explore: float = 0.1
    rounds: int = 0
    _eta: Floats = field(init=False)
    _weights: Floats = field(init=False)
    _sums: Floats = field(init=False)
    _known: tuple[Floats, Floats] | None = field(init=False, default=None)
    """The experts' probabilities and their mixture, until something is heard: they are asked for four times a round."""

    def __post_init__(self) -> None:
        self._eta = np.minimum(0.5, np.sqrt(0.5 ** np.arange(SCALES)))
        self._weights = self._eta / self._eta.sum()
        self._sums = np.zeros((SCALES, self.arms))

    def shares(self) -> Floats:
        """The probabilities [arms] of the next draw."""
        _, p = self._now()
        return np.asarray((1 - self.explore) * p + self.explore * (0.5 * p + 0.5 / self.arms))

    def hear(self, arm: int, loss: float, probability: float) -> None:
        """The loss in [0, 1] of a round that drew `arm` with that probability."""
        experts, p = self._now()
        estimate = np.zeros(self.arms)
        estimate[arm] = loss / probability
        gain = p @ estimate - experts @ estimate
        self._weights *= np.maximum(1 + self._eta * gain, LEAST_FACTOR)
        self._weights = (1 - LEAST_WEIGHT) * self._weights / self._weights.sum() + LEAST_WEIGHT / SCALES
        self._sums += estimate
        self.rounds += 1
        for k in range(SCALES):
            if self.rounds % 2**k == 0:
                self._sums[k] = 0.0
        self._known = None

    def _now(self) -> tuple[Floats, Floats]:
        if self._known is None:
            experts = self._experts()
            self._known = (experts, np.asarray(self._weights @ experts))
        return self._known

    def _experts(self) -> Floats:
        """Each expert's probabilities [SCALES, arms]."""
        least = self._sums - self._sums.min(axis=1, keepdims=True)
        grown = np.exp(-self._eta[:, None] * least)
        return np.asarray(grown / grown.sum(axis=1, keepdims=True))
