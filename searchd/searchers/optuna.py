"""TPE from Optuna, in memory: the suggestion comes from the deepest rung that knows enough.

For each suggestion one Optuna study is built from the history: the trials that reported at the deepest rung step
with at least max(10, d + 1) of them (d searched parameters), by their best operating point, and the running trials
as RUNNING, which the sampler counts as bad (constant liar), so that parallel suggestions differ. Diverged and
failed trials count as worse than the worst. Bounds become one Optuna constraint. Below that many trials: random.

Building it anew costs milliseconds and keeps nothing that a restart could lose: Optuna's finished trials are
immutable, so one study could not follow a trial from rung to rung anyway.

Sources: Bergstra, Bardenet, Bengio, Kégl (2011), NeurIPS; Falkner, Klein, Hutter (2018), ICML, for the deepest
rung with enough trials; Ozaki et al. (2022), JAIR, several objectives; Watanabe (2023), arXiv:2304.11127.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from numpy.random import Generator

from searchd.schedulers.events import Losses, TrialId
from searchd.schedulers.order import best_points
from searchd.searchers.base import History
from searchd.searchers.needs import need
from searchd.searchers.optuna_trials import as_trial, ask, quiet, worst_point
from spaces.config import Config
from spaces.domains import Const

if TYPE_CHECKING:
    from optuna.study import Study

TRIES = 16
"""How often an infeasible suggestion is asked for again before the last one is repaired."""


class OptunaTpe:
    """`startup`: a rung needs max(startup, d + 1) trials. `candidates`: drawn for each suggestion. Missing without
    optuna. Priors of the space are used while suggestions are still random."""

    def __init__(self, *, startup: int = 10, candidates: int = 24) -> None:
        need("optuna-tpe", "optuna", "tpe")
        self._startup = startup
        self._candidates = candidates

    def suggest(self, trial: TrialId, history: History, rng: Generator) -> Config:  # noqa: ARG002
        observed = self._deepest(history)
        if observed is None:
            return history.space.sample(rng)
        study = _study(history, observed, self._candidates, int(rng.integers(2**31)))
        return ask(study, history, rng, TRIES)

    def _deepest(self, history: History) -> dict[TrialId, Losses | None] | None:
        """The best point of each trial at the deepest rung that knows enough, None for a diverged one."""
        constants = {slot.name for slot in history.space.slots if isinstance(slot.domain, Const)}
        for step in reversed(history.steps()):
            entries = history.at(step)
            searched = max(len(history.records[t].config.keys() - constants) for t in entries)
            if len(entries) >= max(self._startup, searched + 1):
                best = best_points(entries)
                if any(point is not None for point in best.values()):
                    return best
        return None


def _study(history: History, observed: Mapping[TrialId, Losses | None], candidates: int, seed: int) -> Study:
    import optuna

    with quiet():
        sampler = optuna.samplers.TPESampler(
            n_startup_trials=0, n_ei_candidates=candidates, multivariate=True, group=True, constant_liar=True, seed=seed
        )
    study = optuna.create_study(directions=["minimize"] * history.objectives, sampler=sampler)
    worst = worst_point([p for p in observed.values() if p is not None])
    for record in history.records:
        if record.trial in observed:
            study.add_trial(as_trial(history.space, record.config, observed[record.trial] or worst))
        elif record.state in ("waiting", "running"):
            study.add_trial(as_trial(history.space, record.config, None))
    return study
