"""Laws of the table and of the order in the history: what lets a searcher hold a model over several trials."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from searchd.schedulers.events import TrialId
from searchd.search.events import Deepened, Extended
from searchd.search.search import Search
from searchd.searchers.base import History
from searchd.searchers.table import Table
from spaces.config import Config
from tests.laws.test_search_laws import chaos
from tests.support.studies import FUNCTION, NETS, run, study

COLUMNS = ("trials", "units", "state", "depth", "until", "born", "loss", "violation", "entered", "heard")


def same(warm: Table, cold: Table) -> None:
    """The two hold the same in every column."""
    assert (len(warm), warm.steps, warm.tally) == (len(cold), cold.steps, cold.tally)
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(warm, name), getattr(cold, name), err_msg=name)
    for step in warm.steps:
        assert warm.best_points(step) == cold.best_points(step)


def cold(history: History) -> Table:
    return Table.of(history.space, history.objectives, history.ladders, history.records)


class Watching:
    """Random search that compares the table that it is given with one from the records, and keeps what it saw."""

    def __init__(self) -> None:
        self.seen: dict[TrialId, tuple[int, np.ndarray[Any, Any], tuple[int, ...]]] = {}

    def suggest(self, trial: TrialId, history: History, rng: Any) -> Config:
        table = history.table
        same(table, cold(history))
        assert np.all(table.trials == np.arange(len(table)))
        self.seen[trial] = (table.tally, table.loss.copy(), table.steps)
        return history.space.sample(rng)


@pytest.mark.parametrize("scheduler", ["asha", "stopping", "hyperband"])
@pytest.mark.parametrize("base", [FUNCTION, NETS])
@given(seed=st.integers(0, 10**6), workers=st.integers(1, 6), turns=st.integers(0, 80))
@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.too_slow])
def test_warm_equals_cold(scheduler: str, base: dict[str, Any], seed: int, workers: int, turns: int) -> None:
    """At every suggestion and at the end, the table kept by the search equals one built from the records; and from
    any later history `heard < born` gives exactly what was known when a trial was born."""
    spec = study(base, search={"scheduler": scheduler, "brackets": None}, budget={"trials": 9})
    watching = Watching()
    search = Search(spec, searcher=watching)
    chaos(search, seed, workers, turns)
    table = search.history.table
    same(table, cold(search.history))
    for trial, (tally, loss, steps) in watching.seen.items():
        if trial in search.trials and search.trials[trial].reason != "injected":
            born = table.born[table.row(trial)]
            assert born == tally
            known = np.where(table.heard < born, table.loss, np.nan)[: len(loss)]
            columns = [table.column(step) for step in steps]
            np.testing.assert_array_equal(known[:, columns], loss)


def test_every_number_is_given_once() -> None:
    """The tallies of all entries are 0, 1, 2, … without a gap, in the order of the reports."""
    search = Search(study(NETS))
    run(search, 3)
    table = search.history.table
    assert sorted(table.heard[table.entered]) == list(range(table.tally))
    assert table.born[0] == 0


def test_a_deepened_search_has_more_columns() -> None:
    """After a deepening the table has the new rungs, and all that was known."""
    search = Search(study())
    run(search, 2)
    before = search.history.table.loss.copy()
    search.tell(Deepened(27))
    search.tell(Extended(30))
    assert search.history.table.steps == (1, 3, 9, 27)
    np.testing.assert_array_equal(search.history.table.loss[:, :3], before)
    run(search, 2)
    same(search.history.table, cold(search.history))
    assert np.isfinite(search.history.table.loss[:, 3]).any()


def test_a_history_left_behind() -> None:
    """A history that the search went on from still shows what was known then."""
    search = Search(study())
    search.ask()
    old = search.history
    search.ask()
    assert len(old.table) == 1
    assert len(search.history.table) == 2
