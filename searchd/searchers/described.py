"""Losses that are known before any training: `history.describe` says them (bytes, MACs, a predicted latency, …).

A sample of the space is described once. From it comes the first design: a trial from each of equal shares of the
sample by the first described loss, so that small and large are both there from the start; and a model of each described
loss, which tells candidates apart cheaply. What it finds promising is then described itself.

Source: RESEARCH.md, part 1.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator, Philox
from numpy.typing import NDArray

from searchd.searchers import gp
from searchd.searchers.base import History
from searchd.searchers.candidates import Ground
from spaces.config import Config
from spaces.errors import SpaceError
from spaces.space import Space

Floats = NDArray[np.float64]

SAMPLE = 120
"""So many configs are described at first …"""
DESIGN = 20
"""… and so many of them are tried."""
STEPS = 15
"""Of the climb of each model's hyperparameters."""


class Described:
    """`at`: which objectives are known, by their numbers; nothing else of it may be asked when there are none."""

    def __init__(self, history: History, ground: Ground, seed: int) -> None:
        self._ground, self._history = ground, history
        self._known: dict[bytes, Floats] = {}
        self._goals = history.goals if len(history.goals) == history.objectives > 1 else ()
        self.at: tuple[int, ...] = ()
        self.design: list[Config] = []
        if not self._goals:
            return
        rng = Generator(Philox(key=np.array([seed % 2**64, 0], dtype=np.uint64), counter=[0, 0, 0, 2]))
        metrics = _said(history, history.space.decode(ground.draw(1, rng)[0]))
        self.at = tuple(i for i, (name, _) in enumerate(self._goals) if name in metrics)
        if self.at:
            self._learn(history.space, rng)

    def _learn(self, space: Space, rng: Generator) -> None:
        units = self._ground.draw(SAMPLE, rng)
        losses = self.losses(units)
        sound = np.isfinite(losses).all(axis=1)
        units, losses = units[sound], losses[sound]
        if len(units) < DESIGN:
            self.at = ()
            return
        shares = np.array_split(np.argsort(losses[:, 0], kind="stable"), DESIGN)
        picked = rng.permutation([int(rng.choice(share)) for share in shares])
        self.design = [space.decode(unit) for unit in units[picked]]
        ground, x = self._ground, self._ground.rows(units)
        self._models: list[tuple[gp.Posterior, float, float]] = []
        for values in losses.T:
            center, spread = float(values.mean()), float(values.std()) or 1.0
            y, noise = (values - center) / spread, np.zeros(len(values))
            hyper = gp.climb(ground.hyper(), x, y, noise, ground.groups, STEPS)
            self._models.append((gp.Posterior(hyper, x, y, noise, ground.groups), center, spread))

    def losses(self, units: Floats) -> Floats:
        """What is said of points [n, width], one column for each of `at`; infinite where a config cannot be built."""
        found = np.empty((len(units), len(self.at)))
        for i, unit in enumerate(units):
            key = unit.tobytes()
            known = self._known.get(key)
            if known is None:
                metrics = _said(self._history, self._history.space.decode(unit))
                signed = [self._goals[j][1] * metrics.get(self._goals[j][0], np.inf) for j in self.at]
                known = self._known[key] = np.array(signed) if metrics else np.full(len(self.at), np.inf)
            found[i] = known
        return found

    def guess(self, x: Floats) -> Floats:
        """The same of feature rows [n, d], as the models have it."""
        columns = [center + spread * model.mean(model.covariances(x)) for model, center, spread in self._models]
        return np.stack(columns, axis=1)


def _said(history: History, config: Config) -> dict[str, float]:
    """What the description says; nothing where the config breaks a constraint or cannot be built."""
    try:
        (metrics,) = history.describe([config])
    except SpaceError:
        return {}
    return dict(metrics or {})
