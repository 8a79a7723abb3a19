"""NSGA-II from Optuna, in memory: generations of the deepest rung that knows enough.

The trials of a rung, in the order in which they were heard, are cut into generations of `population`. The parents of
a generation are what Optuna's elitist selection leaves of the one before and its parents; a suggestion is a crossing
and mutation of the parents by Optuna's sampler. Parents of closed generations never change, so they are kept while a
search goes on, and a restart finds the same. Parameters that not every parent has are drawn at random by Optuna.

Source: Deb, Pratap, Agarwal, Meyarivan (2002), IEEE Transactions on Evolutionary Computation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numpy.random import Generator

from searchd.schedulers.events import Losses, TrialId
from searchd.schedulers.order import best_points
from searchd.searchers.base import History
from searchd.searchers.merit import Rung, deepest
from searchd.searchers.needs import need
from searchd.searchers.optuna_trials import as_trial, ask, quiet, worst_point
from searchd.searchers.table import Table
from spaces.config import Config

if TYPE_CHECKING:
    from optuna.samplers import NSGAIISampler
    from optuna.study import Study

TRIES = 16
GENERATION = "NSGAIISampler:generation"
"""Where Optuna keeps the generation of a trial."""

Points = dict[int, Losses]


class OptunaNsga2:
    """`population`: trials in a generation; a rung needs as many. Missing without optuna."""

    def __init__(self, *, population: int = 20) -> None:
        need("nsga2", "optuna", "mo-evolution")
        self._population = population
        self._kept: tuple[Table, int, list[list[int]]] | None = None

    def suggest(self, trial: TrialId, history: History, rng: Generator) -> Config:  # noqa: ARG002
        rung = deepest(history, self._population)
        if rung is None:
            return history.space.sample(rng)
        parents = self._parents(history, rung)
        sampler = self._sampler(int(rng.integers(2**31)))
        return ask(self._study(history, _points(history, rung.step, parents), sampler), history, rng, TRIES)

    def _parents(self, history: History, rung: Rung) -> list[int]:
        """Rows of the parents of the youngest generation that is not closed."""
        table = history.table
        if self._kept is None or self._kept[0] is not table or self._kept[1] != rung.step:
            self._kept = (table, rung.step, [])
        chain = self._kept[2]
        for closed in range(len(chain), len(rung.rows) // self._population):
            born = rung.rows[closed * self._population : (closed + 1) * self._population].tolist()
            rows = sorted({*born, *(chain[-1] if chain else ())})
            sampler = self._sampler(0)
            study = self._study(history, _points(history, rung.step, rows), sampler)
            chain.append([rows[chosen.number] for chosen in sampler.select_parent(study, 1)])
        return sorted(chain[-1])

    def _sampler(self, seed: int) -> NSGAIISampler:
        import optuna

        with quiet():
            return optuna.samplers.NSGAIISampler(population_size=self._population, seed=seed)

    def _study(self, history: History, points: Points, sampler: NSGAIISampler) -> Study:
        """These rows as the first generation of a study."""
        import optuna

        study = optuna.create_study(directions=["minimize"] * history.objectives, sampler=sampler)
        for row, point in points.items():
            made = as_trial(history.space, history.records[row].config, point)
            made.set_user_attr("row", row)
            made._system_attrs[GENERATION] = 0
            study.add_trial(made)
        return study


def _points(history: History, step: int, rows: list[int]) -> Points:
    """The best point of each of these rows among them alone, so that what comes later changes nothing."""
    records = [history.records[row] for row in rows]
    best = best_points({record.trial: record.losses.get(step, ()) for record in records})
    known = [point for point in best.values() if point is not None]
    worst = worst_point(known) if known else Losses((0.0,) * history.objectives)
    return {row: best[record.trial] or worst for row, record in zip(rows, records, strict=True)}
