"""The static baseline of schedules: constant trials now and then, and what they say of the others."""

from __future__ import annotations

from typing import Any

import pytest

from searchd.errors import SearchdError
from searchd.search.algorithms import check_options, make_searcher
from searchd.search.search import Search
from searchd.searchers.base import History, Record, generator
from searchd.store.base import PointRow, TrialRow
from searchd.views.plain import Goal
from searchd.views.static import static_best
from spaces.lint import lint_study
from spaces.space import Space
from spaces.study import Study
from spaces.tree import schedules
from tests.support.studies import run, study

POLICY: dict[str, Any] = {
    "optimizer": {"choice": {
        "sgd": {"lr": {"float": [1e-4, 1], "log": True, "schedule": {"piecewise": [1, 3, 9]}}}, "adam": {},
    }},
    "batch": {"int": [8, 64], "schedule": {"piecewise": [1, 9]}}, "width": {"int": [4, 64]},
}  # fmt: skip
SPACE = Space.parse(POLICY, ["optimizer.sgd.lr[0] >= optimizer.sgd.lr[2]"])
KNOTS = {"optimizer.sgd.lr": tuple(f"optimizer.sgd.lr.{i}" for i in range(3)), "batch": ("batch.0", "batch.1")}


def policy(**changes: Any) -> Study:
    return Study.parse({
        "study": "policy", "space": POLICY, "objectives": {"loss": "minimize"}, "budget": {"trials": 20},
        "task": "m.x:f", "search": {"scheduler": "fifo", "searcher": "random", "R": 9, "options": {"constants": 5}},
        **changes,
    })  # fmt: skip


def constant(config: Any) -> bool:
    return all(len({config[n] for n in names if n in config}) <= 1 for names in KNOTS.values())


def test_which_parameters_have_schedules() -> None:
    """By flat name, with the names of their values; below an option too."""
    assert schedules(SPACE.nodes) == KNOTS
    assert schedules(Space.parse({"x": {"float": [0, 1]}}).nodes) == {}


def test_every_fifth_trial_is_constant() -> None:
    """Trials 4, 9, 14, … are constants at the middle knot of what would have been suggested; others stay."""
    searcher = make_searcher(policy().search, 0)
    plain = make_searcher(policy(search={"searcher": "random"}).search, 0)
    history = History(SPACE)
    for trial in range(30):
        got, was = (s.suggest(trial, history, generator(0, trial)) for s in (searcher, plain))
        SPACE.check(got)
        if (trial + 1) % 5:
            assert got == was
        else:
            assert constant(got)
            assert got["batch.0"] == was["batch.1"]
            assert got["width"] == was["width"]
            assert got.get("optimizer.sgd.lr.0") == was.get("optimizer.sgd.lr.1")


def test_a_known_constant_is_not_tried_twice() -> None:
    """Where that constant is there already, the trial keeps its schedule."""
    searcher = make_searcher(policy().search, 0)
    first = searcher.suggest(4, History(SPACE), generator(0, 4))
    again = searcher.suggest(4, History(SPACE, (Record(0, first, "paused"),)), generator(0, 4))
    assert constant(first)
    assert again != first


def test_it_is_an_option_of_every_pair() -> None:
    """Two or more for any scheduler and searcher; a word where nothing has a schedule; a whole search keeps it."""
    for name in ("auto", "tpe", "gp", "portfolio"):
        check_options(study(search={"searcher": name, "options": {"constants": 3}}).search)
    with pytest.raises(SearchdError, match="constants needs a whole number from 2 up, but is 1"):
        check_options(study(search={"options": {"constants": 1}}).search)
    said = [f.message for f in lint_study(study(search={"options": {"constants": 3}}))]
    assert any("no parameter has a schedule" in one for one in said)
    assert not any("no parameter has a schedule" in f.message for f in lint_study(policy()))
    search = Search(policy())
    run(search, 2, report=lambda _, job, __: ({"loss": float(job.config["width"])}, ()))
    assert [constant(r.config) for t, r in search.trials.items() if (t + 1) % 5 == 0] == [True] * 4


def rows(*said: tuple[bool, int, float, float]) -> tuple[list[TrialRow], list[PointRow]]:
    """Trials (constant?, step, loss, violation) by number."""
    trials, points = [], []
    for i, (flat, step, loss, violation) in enumerate(said):
        config = {"optimizer": "adam", "width": 8, "batch.0": 8, "batch.1": 8 if flat else 16}
        trials.append(TrialRow("s", i, config, "paused", step, 0, "", "", None, 0.0, None))
        points.append(PointRow("s", i, 0, step, {"loss": loss}, violation, False))
    return trials, points


def test_the_best_of_both_kinds() -> None:
    """At the deepest step that both reached, what keeps the bounds first; a schedule may be the worse one."""
    known = [(False, 9, 0.3, 0), (True, 9, 0.2, 0), (True, 9, 0.1, 1), (False, 9, 0.5, 0), (False, 27, 0.01, 0)]
    trials, points = rows(*known)
    found = static_best(SPACE, trials, points, Goal("loss", "minimize"))
    assert found == {
        "step": 9, "objective": "loss", "scheduled": {"trial": 0, "value": 0.3}, "constant": {"trial": 1, "value": 0.2}
    }  # fmt: skip
    assert static_best(Space.parse({"x": {"float": [0, 1]}}), trials, points, Goal("loss", "minimize")) is None
    assert static_best(SPACE, trials, [], Goal("loss", "minimize")) is None
    up = static_best(SPACE, trials, points, Goal("loss", "maximize"))
    assert up is not None
    assert up["scheduled"] == {"trial": 3, "value": 0.5}
    one = static_best(SPACE, *rows((False, 9, 0.3, 0)), Goal("loss", "minimize"))
    assert one is not None
    assert one["constant"] is None
