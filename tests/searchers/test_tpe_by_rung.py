"""TPE by rung, ours and Optuna's, and Sobol: what these searchers do beyond the contract."""

from __future__ import annotations

import sys
from statistics import median

import numpy as np
import pytest
from scipy.stats.qmc import Sobol

from searchd.errors import Missing
from searchd.schedulers.events import Losses
from searchd.search.search import Search
from searchd.searchers.base import History, Record, generator
from searchd.searchers.optuna import OptunaTpe
from searchd.searchers.sobol import SobolSearcher
from searchd.searchers.tpe import TpeSearcher
from spaces.space import Space
from tests.support.studies import run, study, toy_loss

Make = type[TpeSearcher] | type[OptunaTpe]

LINE = Space.parse({"x": {"float": [0, 1]}, "y": {"float": [0, 1]}})


def past(entries: dict[int, list[tuple[float, float]]], running: list[float] = [], space: Space = LINE) -> History:  # noqa: B006
    """Trials with (x, loss) at each rung step; y is 0.5; then running trials at x."""
    records: list[Record] = []
    for step, pairs in entries.items():
        for x, loss in pairs:
            losses = {step: (Losses((loss,)),)}
            config = space.complete({"x": x, "y": 0.5})
            records.append(Record(len(records), config, "paused", step, step, losses=losses))
    for x in running:
        records.append(Record(len(records), space.complete({"x": x, "y": 0.5}), "running", 0, 1))
    return History(space, tuple(records))


@pytest.fixture(params=[TpeSearcher, OptunaTpe])
def make(request: pytest.FixtureRequest) -> Make:
    made: Make = request.param
    return made


def suggestions(make: Make, history: History, n: int = 15) -> list[float]:
    trials = range(100, 100 + n)
    return [make().suggest(t, history, generator(0, t))["x"] for t in trials]


def around(best: float, n: int = 20) -> list[tuple[float, float]]:
    return [(x, abs(x - best)) for x in np.linspace(0, 1, n).tolist()]


def test_suggestions_are_near_the_best(make: Make) -> None:
    """With a clear optimum, most suggestions are near it."""
    assert median(abs(x - 0.2) for x in suggestions(make, past({1: around(0.2)}))) < 0.12


def test_the_deepest_rung_that_knows_enough_decides(make: Make) -> None:
    """Ten trials at rung 3 overrule twenty at rung 1; nine do not."""
    for n, best in ((10, 0.9), (9, 0.2)):
        found = suggestions(make, past({1: around(0.2), 3: around(0.9, n)}))
        assert median(abs(x - best) for x in found) < 0.15


def test_without_enough_trials_it_is_random(make: Make) -> None:
    """Nine trials at any rung: the suggestion is the space's own sample."""
    history = past({1: around(0.2, 9), 3: around(0.9, 9)})
    trial = len(history.records)
    assert make().suggest(trial, history, generator(0, trial)) == LINE.sample(generator(0, trial))


def test_running_trials_push_away(make: Make) -> None:
    """Running trials at the optimum count as bad, so that the next suggestions keep further away from them."""
    space = Space.parse({"x": {"float": [0, 1]}})
    seen = tuple(
        Record(i, space.complete({"x": x}), "paused", 1, 1, losses={1: (Losses((loss,)),)})
        for i, (x, loss) in enumerate(around(0.2))
    )
    busy = tuple(Record(20 + i, space.complete({"x": 0.2}), "running", 0, 1) for i in range(20))
    free, crowded = (
        [abs(x - 0.2) for x in suggestions(make, History(space, records), 30)] for records in (seen, seen + busy)
    )
    assert median(crowded) > 1.5 * median(free)


def test_diverged_and_failed_trials_push_away(make: Make) -> None:
    """Where trials diverged or failed, nothing more is suggested: they count as worse than the worst."""
    good = [(x, 0.5) for x in np.linspace(0, 0.5, 8).tolist()]
    diverged = [(x, float("nan")) for x in np.linspace(0.6, 1, 8).tolist()]
    found = suggestions(make, past({1: good + diverged}))
    assert sum(x < 0.55 for x in found) >= 12
    history = past({1: good})
    failed = [
        Record(8 + i, LINE.complete({"x": x, "y": 0.5}), "failed", 0, 1) for i, (x, _) in enumerate(diverged)
    ]
    found = suggestions(make, History(LINE, history.records + tuple(failed)))
    assert sum(x < 0.55 for x in found) >= 12


def test_violation_overrules_the_loss(make: Make) -> None:
    """Trials that break a bound are bad however low their loss is."""
    records = []
    for i, (x, loss) in enumerate(around(0.1)):
        losses = {1: (Losses((loss,), 1.0 - x if x < 0.5 else 0.0),)}
        records.append(Record(i, LINE.complete({"x": x, "y": 0.5}), "paused", 1, 1, losses=losses))
    assert median(suggestions(make, History(LINE, tuple(records)))) > 0.45
    assert median(suggestions(make, past({1: around(0.1)}))) < 0.25


def test_all_diverged_is_random(make: Make) -> None:
    """When nobody has a finite loss, the suggestion is random."""
    history = past({1: [(x, float("nan")) for x, _ in around(0.2)]})
    assert make().suggest(20, history, generator(0, 20)) == LINE.sample(generator(0, 20))


def test_constraints_are_kept(make: Make) -> None:
    """Suggestions keep the constraints even when the optimum is beyond them."""
    space = Space.parse({"x": {"float": [0, 1]}, "y": {"float": [0, 1]}}, ["x + y <= 0.75"])
    history = past({1: [(x * 0.25, 0.25 - x * 0.25) for x in np.linspace(0, 1, 20).tolist()]}, space=space)
    for trial in range(20, 30):
        assert space.feasible(make().suggest(trial, history, generator(0, trial)))


@pytest.mark.parametrize("scheduler", ["fifo", "asha"])
def test_tpe_beats_random(scheduler: str) -> None:
    """On a smooth conditional toy, over five seeds, TPE's best loss has the lower median."""
    best = {}
    for searcher in ("random", "tpe"):
        spec = study(search={"searcher": searcher, "scheduler": scheduler}, budget={"trials": 45})
        searches = [Search(spec, seed=seed) for seed in range(5)]
        for search in searches:
            run(search, 2)
        best[searcher] = median(min(toy_loss(r.config, 9) for r in s.trials.values()) for s in searches)
    assert best["tpe"] < best["random"]


def test_sobol_is_the_sequence() -> None:
    """Trial n gets point n of one scrambled sequence, whoever asks when: together they fill the cube evenly."""
    searcher = SobolSearcher(seed=3)
    configs = [searcher.suggest(t, History(LINE), generator(3, t)) for t in range(16)]
    points = Sobol(2, scramble=True, seed=np.random.default_rng(3)).random(16)
    assert np.allclose([[c["x"], c["y"]] for c in configs], points)
    cells = {(int(c["x"] * 4), int(c["y"] * 4)) for c in configs}
    assert len(cells) == 16, "16 points of two dimensions, one in each of 4 × 4 cells"


@pytest.mark.parametrize(("make", "part"), [(TpeSearcher, "scipy"), (OptunaTpe, "optuna"), (SobolSearcher, "scipy")])
def test_a_missing_part_is_said(make: type, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without optuna or scipy the searcher says at once what to install, or what to use instead."""
    for name in [n for n in sys.modules if n.split(".")[0] == part]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(Missing, match=f"needs {part}: pip install 'searchd\\[server\\]'"):
        make()
