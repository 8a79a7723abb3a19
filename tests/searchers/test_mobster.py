"""MOBSTER beyond the searchers' contract: it finds, it keeps its distance, and a restart changes no suggestion."""

from __future__ import annotations

from math import inf, nan
from statistics import median
from typing import Any

import numpy as np
import pytest

from searchd.schedulers.events import Losses
from searchd.search.events import Failed, Finished, Job, Reported
from searchd.search.search import Search
from searchd.searchers.base import History, Record, Searcher, generator
from searchd.searchers.mobster import MobsterSearcher, _pending, _target_rung
from searchd.searchers.observations import Observations, targets
from spaces.space import Space
from tests.support.studies import FUNCTION, NETS, run, study, toy_loss, toy_report

LINE = Space.parse({"x": {"float": [0, 1]}})


def past(entries: list[tuple[float, dict[int, float]]], running: list[tuple[float, int]] = [], **more: Any) -> History:  # noqa: B006
    """Trials at x with losses by rung, then running ones at x towards a step."""
    records = [
        Record(i, LINE.complete({"x": x}), "paused", max(curve), max(curve),
               losses={s: (Losses((v,), more.get("violation", lambda _: 0.0)(x)),) for s, v in curve.items()})
        for i, (x, curve) in enumerate(entries)
    ]  # fmt: skip
    records += [
        Record(len(records) + i, LINE.complete({"x": x}), "running", 0, until) for i, (x, until) in enumerate(running)
    ]
    return History(LINE, tuple(records), 1, ((1, 3, 9),))


def suggestions(history: History, n: int = 9, **options: Any) -> list[float]:
    return [MobsterSearcher(**options).suggest(t, history, generator(0, t))["x"] for t in range(100, 100 + n)]


@pytest.mark.parametrize("kernel", ["exp-decay", "exp-decay-sum", "product", "independent"])
def test_it_goes_to_the_optimum(kernel: str) -> None:
    """With a parabola at three rungs, suggestions are near its minimum, whatever the family."""
    entries = [(x, {s: (x - 0.62) ** 2 + 1 / s for s in (1, 3, 9)}) for x in np.linspace(0, 1, 9).tolist()]
    assert all(abs(x - 0.62) < 0.06 for x in suggestions(past(entries), kernel=kernel))


def test_low_rungs_inform_the_deepest() -> None:
    """Three losses at the deepest rung and many at the first: the first tell where to go."""
    entries: list[tuple[float, dict[int, float]]] = [(x, {1: (x - 0.3) ** 2}) for x in np.linspace(0, 1, 15).tolist()]
    for i in (1, 7, 13):
        entries[i][1][9] = entries[i][1][1] - 0.5
    assert median(abs(x - 0.3) for x in suggestions(past(entries))) < 0.08


@pytest.mark.parametrize("pending", ["fantasies", "believer"])
def test_pending_trials_push_away(pending: str) -> None:
    """Running trials at the optimum make the next suggestions look elsewhere."""
    entries = [(x, {1: abs(x - 0.5)}) for x in (0.0, 0.2, 0.8, 1.0, 0.1, 0.9)]
    free, crowded = (
        [abs(x - 0.5) for x in suggestions(past(entries, busy), 21, pending=pending)]
        for busy in ([], [(0.49, 1), (0.5, 1), (0.51, 1)])
    )
    assert median(crowded) > median(free)
    assert min(crowded) > 0.004


def test_pending_is_the_next_rung() -> None:
    """A trial on its way counts at the first rung above its last report, in its own ladder."""
    config = LINE.complete({"x": 0.5})
    records = (
        Record(0, config, "running", 0, 9, losses={1: (Losses((0.1,)),)}),
        Record(1, config, "running", 0, 3, bracket=1),
        Record(2, config, "running", 3, 9, losses={9: (Losses((0.1,)),)}),
        Record(3, config, "waiting"),
    )
    history = History(LINE, records, 1, ((1, 3, 9), (3, 9)))
    rows, due = _pending(history)
    assert list(zip(rows.tolist(), [history.table.steps[c] for c in due], strict=True)) == [(0, 3), (1, 3), (3, 1)]


def test_the_rung_that_is_improved() -> None:
    """The deepest rung with three finite losses."""
    entries: list[tuple[float, dict[int, float]]] = [(0.1, {1: 0.5, 3: 0.4, 9: 0.3})] * 2 + [(0.2, {1: 0.5, 3: 0.4})]
    assert past(entries).table.steps[_target_rung(past(entries).table)] == 3
    assert past(entries[:2]).table.steps[_target_rung(past(entries[:2]).table)] == 1
    entries[2][1][9] = nan
    assert past(entries).table.steps[_target_rung(past(entries).table)] == 3


def test_targets_of_bad_trials() -> None:
    """Diverged ones count as the worst of their rung, broken bounds as worse than feasible, a bad tail is clipped."""
    entries = [(i / 20, {1: float(v)}) for i, v in enumerate([1, 2, 3, 4, 5, 6, 7, 8, 9, 1e9, nan, inf])]
    history = past(entries, violation=lambda x: float(x == 0.05))
    y = targets(history, Observations.of(history.table), np.ones(1), by_rung=False)
    assert np.isfinite(y).all()
    assert y[0] < y[2] < y[8] < y[9]
    assert y[1] == y.max(), "x = 0.05 breaks a bound"
    assert y[10] == y[11] == y.max()
    assert y.std() == pytest.approx(1.0)
    assert y[9] - y[8] < y[8] - y[0]


def test_rows_are_capped_from_the_shallow_end() -> None:
    """Of too many losses those of the trials that came furthest stay, then the latest."""
    entries = [(0.1, {1: 0.5, 3: 0.4}) if i % 4 == 0 else (0.1, {1: 0.5}) for i in range(20)]
    seen = Observations.of(past(entries).table)
    kept = seen.capped(13)
    assert len(kept) == 13
    assert set(range(0, 20, 4)) <= set(kept.row.tolist())
    assert {19, 18, 17} <= set(kept.row.tolist())
    assert seen.capped(99) is seen


def test_a_restart_changes_no_suggestion() -> None:
    """At any moment of a search with failures, diverged trials and four workers, a fresh searcher says the same."""
    for base in (FUNCTION, NETS):
        warm = _Compared(MobsterSearcher(rows=25))
        search = Search(study(base, search={"searcher": "mobster"}, budget={"trials": 40}), 3, searcher=warm)
        jobs: list[Job] = []
        while True:
            while len(jobs) < 4 and isinstance(job := search.ask(), Job):
                jobs.append(job)
            if not jobs:
                break
            job = jobs.pop(0)
            if job.kind == "measure" or job.trial % 9 != 5:
                _finish(search, job)
            else:
                search.tell(Failed(job.trial))
        assert warm.compared > 20


class _Compared:
    """A searcher that is compared with a fresh one each time."""

    def __init__(self, inner: Searcher) -> None:
        self.inner = inner
        self.compared = 0

    def suggest(self, trial: int, history: History, rng: np.random.Generator) -> Any:
        state = rng.bit_generator.state
        said = self.inner.suggest(trial, history, rng)
        if trial % 5 == 0 or self.compared < 4:
            again = generator(0, 0)
            again.bit_generator.state = state
            cold = History(history.space, history.records, history.objectives, history.ladders, history.rejected)
            assert MobsterSearcher(rows=25).suggest(trial, cold, again) == said
        self.compared += 1
        return said


def _finish(search: Search, job: Job) -> None:
    from tests.support.studies import measurement

    if job.kind == "measure":
        search.tell(measurement(search, job))
        return
    for step in range(job.since + 1, job.until + 1):
        metrics, points = toy_report(search, job, step)
        if job.trial % 9 == 2:
            metrics = dict.fromkeys(metrics, nan)
            points = ()
        if search.is_rung(job.trial, step) and search.tell(Reported(job.trial, step, metrics, points)):
            return
    search.tell(Finished(job.trial, job.until))


def test_a_prior_leads_and_lets_go() -> None:
    """With few losses a prior decides between equal optima; with many that contradict it, it is overruled."""
    space = Space.parse({"x": {"float": [0, 1], "prior": {"mean": 0.8, "sd": 0.1}}})

    def median_of(losses: dict[float, float]) -> float:
        records = tuple(
            Record(i, space.complete({"x": x}), "paused", 1, 1, losses={1: (Losses((v,)),)})
            for i, (x, v) in enumerate(losses.items())
        )
        history = History(space, records, 1, ((1,),))
        return median(MobsterSearcher().suggest(t, history, generator(0, t))["x"] for t in range(100, 109))

    twice = {x: min(abs(x - 0.2), abs(x - 0.8)) for x in (0.0, 0.1, 0.35, 0.5, 0.65, 0.9, 1.0)}
    assert median_of(twice) > 0.7
    once = {x: abs(x - 0.2) for x in np.linspace(0, 1, 25).round(3).tolist()}
    assert abs(median_of(once) - 0.2) < 0.1


@pytest.mark.parametrize("scheduler", ["asha", "stopping", "fifo"])
def test_it_beats_random(scheduler: str) -> None:
    """On a smooth conditional toy, over three seeds, with promotion, stopping or plain: lower than random by far."""
    found = {}
    for searcher in ("random", "mobster"):
        spec = study(search={"searcher": searcher, "scheduler": scheduler}, budget={"trials": 30})
        searches = [Search(spec, seed=seed) for seed in range(3)]
        for search in searches:
            run(search, 2)
        found[searcher] = median(min(toy_loss(r.config, 9) for r in s.trials.values()) for s in searches)
    assert found["mobster"] < 0.1 + 0.3 * (found["random"] - 0.1)
