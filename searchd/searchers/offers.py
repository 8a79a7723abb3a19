"""What the trials of a batch are offered: candidates of one model, chosen and refined for all of them at once.

Candidates are drawn from the whole space, near the trials with the best predictions, and as these with some parameters
drawn anew. Each trial of the batch hopes for a random part of `bold` more than the best prediction, gets the candidate
that promises most then and is not too near to anything tried, and points around it; which of them it takes is decided
when it asks, for by then more is tried.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from searchd.schedulers.events import TrialId
from searchd.searchers.apart import nearest
from searchd.searchers.candidates import Ground
from searchd.searchers.judges import Judge
from searchd.searchers.prior import weight

Floats = NDArray[np.float64]

DRAWN, NEAR, MOVED, REFINED = 150, 150, 100, 50
"""Candidates of a model: so many from the whole space, so many near the trials with the best predictions, and so many
that differ from them in some parameters altogether; and so many around the winner."""
LOOKS = 8
"""Where losses are described before training, so many of those are."""
EDGE = 0.2
"""Those parameters are drawn from a range wider by this at both ends and cut: the best is often at an end."""
APART = 0.03
"""No suggestion is nearer than this to another trial in every feature …"""
TRIES = 25
"""… unless the best so many candidates are."""
FEW = 4
"""Fewer rows are sorted sooner than cut to the best first."""


@dataclass(frozen=True, slots=True)
class Offer:
    """The winner and points around it: `units` [n, width], features `x` [n, d], what they promise `score` [n]. What is
    nearer than `apart` to a trial is taken when there is nothing else."""

    units: Floats
    x: Floats
    score: Floats
    apart: float = 0.0

    def best(self, tried: Floats) -> Floats:
        """The point [width] that promises most and is not too near to anything `tried` [d, t]."""
        return np.asarray(self.units[_pick(self.x, _new(self.score, self.x, tried, self.apart), tried)])


class Offers:
    """Of a batch. `judge` knows `n` trials; `tried` [d, t]: features of what had started before the batch; what is
    nearer than `apart` to it is probably one of it again."""

    def __init__(
        self, ground: Ground, judge: Judge, n: int, units: Floats, tried: Floats, trials: Sequence[TrialId],
        rng: Generator, apart: float = 0.0,
    ) -> None:  # fmt: skip
        self._ground, self._judge, self._weight, self._apart = ground, judge, weight(n), apart
        candidates = _candidates(ground, judge, units, rng)
        x = ground.rows(candidates)
        predicted = judge.predict(x)
        belief = self._weight * ground.belief(candidates)
        close = judge.closer(predicted, belief, rng)
        self._candidates, self._x, self._belief = candidates[close], x[close], belief[close]
        self._predicted = judge.look(candidates[close], (predicted[0][:, close], predicted[1][:, close]))
        bolds = rng.random(len(trials))
        winners = self._candidates[self._winners(bolds, tried)]
        self._of: Mapping[TrialId, Offer] = dict(zip(trials, self._around(winners, bolds, rng), strict=True))

    def of(self, trial: TrialId) -> Offer | None:
        """What a trial of the batch is offered; None for another trial."""
        return self._of.get(trial)

    def another(self, tried: Floats, rng: Generator) -> Offer:
        """An offer beside those of the batch, when what a trial took was refused, or it is not of the batch."""
        bolds = rng.random(1)
        return self._around(self._candidates[self._winners(bolds, tried)], bolds, rng)[0]

    def _winners(self, bolds: Floats, tried: Floats) -> list[int]:
        """The place of each hope's best candidate that is not too near to anything `tried` [d, t] or to the winners
        before it."""
        scores = self._judge.rates(self._predicted, bolds) + self._belief
        scores = _new(scores, self._x, tried, self._apart)
        orders = _best(scores, TRIES).tolist()
        gap: dict[int, float] = {}  # of a candidate to what was tried, once it was asked for
        among = np.full(len(self._x), np.inf)  # of each to the winners
        found = []
        for i in range(len(bolds)):
            order = orders[i if len(orders) > 1 else 0]
            place = order[0]
            for able in order:
                if among[able] < APART:
                    continue
                if able not in gap:
                    gap[able] = _gap(self._x[able], tried)
                if gap[able] >= APART:
                    place = able
                    break
            found.append(place)
            np.minimum(among, np.abs(self._x - self._x[place]).max(axis=1), out=among)
        return found

    def _around(self, winners: Floats, bolds: Floats, rng: Generator) -> list[Offer]:
        """For each winner [k, width] it and points near it, rated."""
        k, size = len(winners), REFINED + 1
        sd = 10 ** rng.uniform(-2.5, -0.8, (k * REFINED, 1))
        near = np.repeat(winners, REFINED, axis=0)
        near = self._ground.features.jitter(near, sd, np.full((k * REFINED, 1), 0.4), rng)
        units = np.concatenate([winners[:, None], near.reshape(k, REFINED, -1)], axis=1).reshape(k * size, -1)
        x, bold, belief = self._ground.rows(units), np.repeat(bolds, size), self._weight * self._ground.belief(units)
        predicted = self._judge.predict(x)
        score = self._judge.rate(predicted, bold) + belief
        cuts = [slice(i * size, (i + 1) * size) for i in range(k)]
        if self._judge.looks:
            at = np.concatenate([cut.start + np.argsort(-score[cut], kind="stable")[:LOOKS] for cut in cuts])
            at = np.concatenate([at, [cut.start for cut in cuts]])  # the winner itself was looked at already
            seen = self._judge.look(units[at], (predicted[0][:, at], predicted[1][:, at]))
            rated = self._judge.rate(seen, bold[at]) + belief[at]
            score = np.full(len(score), -np.inf)
            score[at] = rated
        return [Offer(units[cut], x[cut], score[cut], self._apart) for cut in cuts]


def _candidates(ground: Ground, judge: Judge, units: Floats, rng: Generator) -> Floats:
    """What a model is asked about [n, width], given the table's `units`."""
    features = ground.features
    near = units[rng.choice(judge.parents, size=NEAR)]
    near = features.jitter(near, 10 ** rng.uniform(-2.3, -0.4, (NEAR, 1)), rng.random((NEAR, 1)), rng)
    moved = units[rng.choice(judge.able, size=MOVED)]
    moved = features.redraw(moved, 10 ** rng.uniform(-2.0, -0.4, (MOVED, 1)), EDGE, rng)
    return np.vstack([ground.draw(DRAWN, rng), near, moved])


def _new(score: Floats, x: Floats, tried: Floats, apart: float) -> Floats:
    """Scores [..., n] of points `x` [n, d], those of what was `tried` [d, t] already put last."""
    if not apart:
        return score
    new = nearest(x, tried) >= apart
    return np.where(new, score, -np.inf) if new.any() else score


def _pick(x: Floats, score: Floats, tried: Floats) -> int:
    """The place of the best score whose features [d] of `x` [n, d] are not too near to anything tried [d, t]."""
    order: list[int] = _best(score, TRIES).tolist()
    return next((i for i in order if _gap(x[i], tried) >= APART), order[0])


def _best(scores: Floats, n: int) -> NDArray[np.intp]:
    """The places of the best `n` of scores [..., m], by falling score."""
    if scores.ndim == 1 or len(scores) < FEW or scores.shape[-1] <= n:
        return np.argsort(-scores, axis=-1, kind="stable")[..., :n]
    among = np.argpartition(-scores, n - 1, axis=-1)[..., :n]
    order = np.argsort(-np.take_along_axis(scores, among, axis=-1), axis=-1, kind="stable")
    return np.take_along_axis(among, order, axis=-1)


def _gap(x: Floats, tried: Floats) -> float:
    """How far a point [d] is from the nearest of what was tried [d, t], in the feature in which they differ most."""
    return float(np.abs(tried - x[:, None]).max(axis=0).min()) if tried.size else np.inf
