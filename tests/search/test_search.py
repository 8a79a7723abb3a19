"""`Search`: what it asks and answers, with metrics by name in the user's own sense."""

from __future__ import annotations

from math import nan
from typing import Any

import numpy as np
import pytest

from searchd.errors import SearchdError
from searchd.schedulers.asha import Asha
from searchd.search.events import (
    Deepened,
    Exhausted,
    Extended,
    Failed,
    Finished,
    Lost,
    Measured,
    Reported,
    Stopped,
)
from searchd.search.search import Search
from searchd.searchers.base import History
from searchd.searchers.random import RandomSearcher
from spaces.config import Config
from tests.support.studies import FUNCTION, NETS, ask, do, run, study, toy_loss


class Fixed:
    """Answers the same config for every trial."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.seen: list[History] = []

    def suggest(self, trial: int, history: History, rng: Any) -> Config:  # noqa: ARG002
        self.seen.append(history)
        return self.config


# ---------------------------------------------------------------- the loop
def test_a_whole_search() -> None:
    """20 trials, promoted by their own losses; the front of one objective is the best point at the deepest of all."""
    search = Search(study())
    jobs = run(search, 2)
    assert {job.trial for job in jobs} == set(search.trials) == set(range(20))
    best = min(toy_loss(r.config, max(r.losses)) for r in search.trials.values())
    (front,) = search.front()
    assert front.metrics["loss"] == best
    assert front.violation == 0
    assert search.ask() == Exhausted()
    assert {r.state for r in search.trials.values()} == {"paused", "done"}
    for record in search.trials.values():
        assert (record.state == "done") == (record.step == 9)
        assert record.losses.keys() == {s for s in (1, 3, 9) if s <= record.step}


def test_the_documented_loop() -> None:
    """The loop in the module's docstring runs as it stands, with training replaced by arithmetic."""
    import searchd.search.search as module

    assert module.__doc__ is not None
    text = module.__doc__.split("\n\n", 2)[2].split("\n`ask`")[0]
    lines = [line[4:] for line in text.splitlines() if "Study" not in line or "search = " in line]
    code = "\n".join(lines).replace('Study.load("study.yaml")', "spec")
    spec = study({**FUNCTION, "objectives": {"val_error": "minimize"}}, budget={"trials": 9})
    models: dict[int, dict[str, Any]] = {}
    names: dict[str, Any] = {
        "spec": spec,
        "new": lambda config: {"config": config, "step": 0},
        "load": lambda trial, step: {"config": models[trial]["config"], "step": step},
        "save": lambda model, trial, _: models.__setitem__(trial, model),
        "print": lambda *_: None,
    }

    def train_one_step(model: dict[str, Any]) -> float:
        model["step"] += 1
        return toy_loss(model["config"], model["step"])

    names["train_one_step"] = train_one_step
    exec(code, names)
    search = names["search"]
    assert len(search.trials) == 9
    assert search.front()
    assert all(models[t]["step"] == r.step for t, r in search.trials.items())


def test_maximize_is_signed_once() -> None:
    """Maximising a metric prefers the larger one, and the front shows it in the user's own sense."""
    search = Search(study({**FUNCTION, "objectives": {"accuracy": "maximize"}}, budget={"trials": 9}))
    run(search, report=lambda _, job, step: ({"accuracy": job.trial / 10 + step / 100}, ()))
    assert search.trials[8].step == 9
    assert search.front()[0].metrics["accuracy"] == pytest.approx(0.8 + 0.09)


def test_seed_of_the_study_and_of_the_search() -> None:
    """`seed` overrules the study's; the same seed gives the same configs."""
    configs = [
        [j.config for j in run(Search(study(seed=a), seed=b))] for a, b in ((1, None), (7, 1), (1, 2))
    ]
    assert configs[0] == configs[1] != configs[2]


def test_parts_of_your_own() -> None:
    """A scheduler and a searcher given by hand replace those of the study."""
    search = Search(study(), searcher=RandomSearcher(), scheduler=Asha(1, 3, 3, max_trials=5))
    jobs = run(search)
    assert len(search.trials) == 5
    assert max(j.until for j in jobs) == 3


# ---------------------------------------------------------------- events about nothing
def test_events_about_unknown_and_ended_trials() -> None:
    """Unknown trials, steps that are no rung, second reports, late ends: accepted, and nothing changes."""
    search = Search(study())
    job = ask(search)
    before = dict(search.trials)
    for event in (
        Reported(7, 1, {"loss": 1.0}), Reported(0, 2, {"loss": 1.0}), Reported(0, 9, {"loss": 1.0}), Finished(0, 9),
        Finished(5, 1), Failed(5), Stopped(5), Lost(5), Measured("?"),
    ):  # fmt: skip
        assert search.tell(event) == ()
    assert dict(search.trials) == before
    search.tell(Reported(0, 1, {"loss": 1.0}))
    search.tell(Reported(0, 1, {"loss": 2.0}))
    search.tell(Finished(0, job.until))
    assert search.front()[0].metrics["loss"] == 1.0
    search.tell(Failed(0, "late"))
    search.tell(Stopped(0))
    assert (search.trials[0].state, search.trials[0].reason) == ("failed", "late")
    assert search.front() == []


def test_finished_with_metrics() -> None:
    """`Finished` with metrics is a report just before it."""
    one, two = Search(study()), Search(study())
    for search in (one, two):
        ask(search)
    one.tell(Reported(0, 1, {"loss": 0.5}))
    one.tell(Finished(0, 1))
    two.tell(Finished(0, 1, {"loss": 0.5}))
    assert dict(one.trials) == dict(two.trials)


def test_a_report_without_an_objective_fails_the_trial() -> None:
    """The trial is stopped and failed, with what was missing and what was there."""
    search = Search(study())
    ask(search)
    (stop,) = search.tell(Reported(0, 1, {"accuracy": 0.5}))
    assert stop.reason == "the report at step 1 has no number for loss; it has accuracy"
    assert search.trials[0].state == "failed"
    search = Search(study())
    ask(search)
    (stop,) = search.tell(Reported(0, 1, {"loss": "low"}))  # type: ignore[dict-item]
    assert "no number for loss" in stop.reason


def test_nan_is_diverged_not_missing() -> None:
    """NaN ranks last: the trial is paused for ever and on no front."""
    search = Search(study(budget={"trials": 4}))
    run(search, report=lambda _, job, __: ({"loss": nan if job.trial < 3 else 1.0}, ()))
    assert [r.step for r in search.trials.values()] == [1, 1, 1, 3]
    assert [p.trial for p in search.front()] == [3]


def test_stopped_by_the_scheduler() -> None:
    """A Stop from `tell` marks the trial at once; what the worker still reports changes nothing."""
    search = Search(study(search={"scheduler": "stopping"}))
    for _ in range(4):
        ask(search)
    stops = [search.tell(Reported(t, 1, {"loss": float(t)})) for t in range(4)]
    assert [len(s) for s in stops] == [0, 0, 1, 1]
    assert search.trials[2].state == "stopped"
    assert search.trials[2].reason == "stopped: rank 3 of 3 at rung 1"
    search.tell(Reported(2, 3, {"loss": 0.0}))
    search.tell(Stopped(2, by="scheduler"))
    assert search.trials[2].losses.keys() == {1}
    assert search.trials[2].reason == "stopped: rank 3 of 3 at rung 1"


# ---------------------------------------------------------------- deeper, more
def test_deepened() -> None:
    """After the end R is raised: `done` trials are paused again, some go on; a wrong R is refused with a remedy."""
    search = Search(study(budget={"trials": 27}))
    run(search)
    done = {t for t, r in search.trials.items() if r.state == "done"}
    search.tell(Deepened(27))
    assert {search.trials[t].state for t in done} == {"paused"}
    jobs = run(search)
    assert {j.until for j in jobs} == {27}
    assert {j.trial for j in jobs} <= done
    with pytest.raises(SearchdError, match="times a power of eta = 3, but R = 50: choose"):
        search.tell(Deepened(50))


def test_extended() -> None:
    """After the end more trials are allowed: exactly those start."""
    search = Search(study(budget={"trials": 5}))
    run(search)
    search.tell(Extended(8))
    run(search)
    assert len(search.trials) == 8


def test_the_searcher_sees_the_history() -> None:
    """A searcher sees trials, states, losses by rung, pending rungs, ladders, and exact metrics of any config."""
    config = study(NETS).space.sample(np.random.default_rng(0))
    searcher = Fixed(config)
    search = Search(study(NETS), searcher=searcher)
    do(search, ask(search))
    do(search, ask(search))
    ask(search)
    past = searcher.seen[-1]
    assert past.records[0].losses.keys() == {1}
    assert len(past.records[0].losses[1]) == 3
    assert past.ladders == ((1, 3, 9), (3, 9))
    (metrics,) = past.describe([config])
    assert metrics is not None
    assert metrics["bytes"] > 0
    assert past.rejected == (config,) * 7
    assert [r.pending for r in search.history.records] == [None, 3]


@pytest.mark.parametrize(
    ("search", "words"),
    [
        ({"options": {"promotoin": "asha"}}, "asha × random has no option 'promotoin': did you mean 'promotion'?"),
        ({"options": {"promotion": "delay"}}, "did you mean 'delayed'?"),
        ({"searcher": "tpe", "options": {"startup": 0}}, "startup needs a whole number from 1 up, but is 0"),
        ({"brackets": 2}, "asha has one bracket, but brackets = 2: use hyperband or async-hyperband"),
        ({"scheduler": "async-hyperband", "brackets": 9}, "brackets needs to be 1 to 3"),
    ],
)
def test_wrong_options(search: dict[str, Any], words: str) -> None:
    """An unknown option, a wrong value, brackets that mean nothing: value, rule, remedy."""
    with pytest.raises(SearchdError, match=words.replace("?", r"\?")):
        Search(study(FUNCTION, search=search))
