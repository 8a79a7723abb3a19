"""Gaussian process from Optuna, in memory: what its GPSampler says of the deepest rung that knows enough.

Log expected improvement for one objective, log expected hypervolume improvement for several, bounds as constraints,
running trials as pending. Parameters that not every config has (conditional ones) are drawn at random by Optuna. For
each suggestion a study of at most `rows` trials is built anew: half of them the best, the others the latest. A
suggestion costs tenths of a second; it needs torch.

Sources: Ament, Daulton, Eriksson, Balandat, Bakshy (2023), NeurIPS, LogEI; Optuna 5, GPSampler.
"""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
from numpy.random import Generator

from searchd.errors import Missing
from searchd.schedulers.events import TrialId
from searchd.searchers.base import History
from searchd.searchers.merit import Rows, deepest, finite, ordered
from searchd.searchers.needs import need
from searchd.searchers.optuna_trials import as_trial, ask, quiet, worst_point
from spaces.config import Config

TRIES = 3
"""Each try fits a model again."""
PENDING = 32
"""Running trials in the model at most: the latest."""


class OptunaGp:
    """`startup`: a rung needs max(startup, d + 1) trials. `rows`: trials in the model at most. Missing without optuna
    or torch."""

    def __init__(self, *, startup: int = 10, rows: int = 150) -> None:
        need("optuna-gp", "optuna", "gp")
        if find_spec("torch") is None:
            raise Missing("the searcher 'optuna-gp' needs torch: pip install torch, or use searcher: gp")
        self._startup = startup
        self._rows = rows

    def suggest(self, trial: TrialId, history: History, rng: Generator) -> Config:  # noqa: ARG002
        rung = deepest(history, self._startup)
        if rung is None:
            return history.space.sample(rng)
        import optuna

        rows = _chosen(history, rung.column, rung.rows, self._rows)
        best = history.table.best_points(rung.step)
        found = {row: best[history.records[row].trial] for row in rows.tolist()}
        worst = worst_point([point for point in found.values() if point is not None])
        bounded = any(point is not None and point.violation > 0 for point in found.values())
        with quiet():
            sampler = optuna.samplers.GPSampler(
                seed=int(rng.integers(2**31)), n_startup_trials=0, warn_independent_sampling=False
            )
            study = optuna.create_study(directions=["minimize"] * history.objectives, sampler=sampler)
            for row, point in found.items():
                study.add_trial(as_trial(history.space, history.records[row].config, point or worst, bounded=bounded))
            for row in np.flatnonzero(history.table.state < 2).tolist()[-PENDING:]:
                if row not in found:
                    study.add_trial(as_trial(history.space, history.records[row].config, None))
            return ask(study, history, rng, TRIES)


def _chosen(history: History, column: int, rows: Rows, most: int) -> Rows:
    """The rows of the model, ascending: the best of the rung and its latest; a finite one is among them."""
    if len(rows) <= most:
        return np.sort(rows)
    able = rows[finite(history.table, column)[rows]]
    best = ordered(history, column, np.sort(able))[: max(most // 2, 1)]
    latest = [row for row in rows[::-1].tolist() if row not in set(best.tolist())][: most - len(best)]
    return np.sort(np.append(best, latest).astype(np.intp))
