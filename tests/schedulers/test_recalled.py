"""`Recalled`: a rule begins with what another's search brought and asks for nothing that is recorded."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searchd.schedulers.asha import Asha
from searchd.schedulers.events import (
    Exhausted,
    Failed,
    Finished,
    Injected,
    Losses,
    Reported,
    Resume,
    Scheduler,
    Start,
    Stop,
    Stopped,
)
from searchd.schedulers.fifo import Fifo
from searchd.schedulers.recalled import Past, Recalled
from searchd.schedulers.stopping import Stopping
from searchd.search.algorithms import SCHEDULERS, make_scheduler
from spaces.study import SearchSpec

NAMES = [name for name in SCHEDULERS if name != "acband"]  # it needs a hundred instances, and races in groups
RULES: dict[str, Callable[[], Scheduler]] = {
    **{name: partial(make_scheduler, SearchSpec(scheduler=name, r=1, R=9, eta=3), 12) for name in NAMES},
    "delayed": lambda: Asha(1, 9, 3, max_trials=12, promotion="delayed"),
}
"""Every scheduler that a study may name; new ones join by themselves."""


def loss(trial: int, step: int) -> tuple[Losses, ...]:
    return (Losses((((trial * 7) % 11) + 1 / step,)),)


def past(finished: int, reported: int = 0, *, trial: int = 0, over: str = "") -> Past:
    steps = range(1, max(finished, reported) + 1)
    return Past({step: loss(trial, step) for step in steps}, finished, over)  # type: ignore[arg-type]


def drain(scheduler: Scheduler, most: int = 500) -> list[Start | Resume]:
    """One worker, to the end; every job that was asked for."""
    jobs: list[Start | Resume] = []
    for _ in range(most):
        answer = scheduler.ask()
        if not isinstance(answer, Start | Resume):
            assert isinstance(answer, Exhausted)
            return jobs
        jobs.append(answer)
        since = answer.since if isinstance(answer, Resume) else 0
        for step in range(since + 1, answer.until + 1):
            given_up: tuple[Stop, ...] = ()
            if scheduler.is_rung(answer.trial, step):
                given_up = scheduler.tell(Reported(answer.trial, step, loss(answer.trial, step)))
            if any(stop.trial == answer.trial for stop in given_up):
                break
        else:
            scheduler.tell(Finished(answer.trial, answer.until))
    raise AssertionError("no end")


@pytest.mark.parametrize("rule", RULES)
def test_a_whole_record_leaves_nothing_to_do(rule: str) -> None:
    """Where every trial is recorded to the top, the rule inside comes to its end without one job."""
    known = {trial: past(9, trial=trial) for trial in range(12)}
    assert drain(Recalled(RULES[rule](), known, 12)) == []


@pytest.mark.parametrize("rule", RULES)
def test_no_record_is_the_rule_itself_with_brought_configs(rule: str) -> None:
    """Without a past it answers as the rule does that was told of as many injected configs."""
    plain = RULES[rule]()
    for trial in range(5):
        plain.tell(Injected(trial))
    assert drain(Recalled(RULES[rule](), {}, 5)) == drain(plain)


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_what_is_recorded_is_never_asked_for(rule: str, data: st.DataObject) -> None:
    """A job of a recorded trial begins where its record ends or later; each trial starts once; the search ends; peek
    is ask."""
    n = data.draw(st.integers(0, 12))
    known: dict[int, Past] = {}
    for trial in range(n):
        finished = data.draw(st.sampled_from([None, 0, 1, 3, 9, 2]))
        if finished is not None:
            over = data.draw(st.sampled_from(["", "", "failed", "stopped"]))
            more = data.draw(st.integers(0, 2))
            if finished or more or over:
                known[trial] = past(finished, min(9, finished + more), trial=trial, over=over)
    copied = {trial: (one.finished, one.over) for trial, one in known.items()}
    scheduler = Recalled(RULES[rule](), known, n)
    assert scheduler.peek() == scheduler.peek()
    jobs = drain(scheduler)
    starts = [job.trial for job in jobs if isinstance(job, Start)]
    assert starts == sorted(set(starts))
    assert not set(starts) & set(known)
    for job in jobs:
        if job.trial in copied:
            finished, over = copied[job.trial]
            assert isinstance(job, Resume)
            assert not over
            assert job.since >= min(finished, job.until)
            assert job.until > finished


def test_a_stop_that_the_record_brings_goes_out_with_the_next_tell() -> None:
    """The rule gives up on recorded trials while it reads the record; who listens hears it once."""
    known = {trial: past(0, 1, trial=trial) for trial in range(6)}
    scheduler = Recalled(Stopping(1, 9, 3, max_trials=12), known, 6)
    stops = scheduler.tell(Failed(99))
    assert stops
    assert all(stop.trial in known for stop in stops)
    assert scheduler.tell(Failed(99)) == ()


def test_one_promotion_beyond_the_record_at_a_time() -> None:
    """What is trained beyond the record may change the next promotion: nothing is decided ahead of it."""
    known = {trial: past(1, trial=trial) for trial in range(9)}
    scheduler = Recalled(Asha(1, 9, 3, max_trials=9), known, 9)
    first = scheduler.ask()
    assert isinstance(first, Resume)
    best = min(known, key=lambda trial: known[trial].losses[1][0].values)
    assert (first.trial, first.since, first.until) == (best, 1, 3)


def test_what_is_trained_beyond_the_record_decides_the_next_promotion() -> None:
    """Three recorded trials would go on beyond their record; a config that is brought meanwhile, and is better than the
    third, takes its place: only one promotion is taken ahead of its turn."""
    known = {trial: past(1, 2, trial=trial) for trial in range(9)}
    a, b, c = sorted(known, key=lambda trial: known[trial].losses[1][0].values)[:3]
    scheduler = Recalled(Asha(1, 9, 3, max_trials=9), known, 9)
    scheduler.tell(Injected(9))
    start = scheduler.ask()
    assert (start.trial, start.until) == (9, 1)  # type: ignore[union-attr]
    scheduler.tell(Reported(9, 1, (Losses((-1.0,)),)))
    scheduler.tell(Finished(9, 1))
    jobs = [scheduler.ask() for _ in range(3)]
    assert [job.trial for job in jobs] == [a, 9, b]  # type: ignore[union-attr]
    assert c


def test_a_trial_that_ends_while_it_waits_to_go_on() -> None:
    """The user stops a recorded trial that is due: it is not answered any more."""
    known = {0: past(0, 3)}
    scheduler = Recalled(Fifo(9, max_trials=1), known, 1)
    assert scheduler.peek() == Resume(0, 0, 9, "injected")
    scheduler.tell(Stopped(0))
    assert isinstance(scheduler.peek(), Exhausted)


def test_a_diverged_past_is_never_promoted() -> None:
    """NaN ranks last in the record as it did when it was reported."""
    known = {trial: past(1, trial=trial) for trial in range(1, 3)} | {0: Past({1: (Losses((nan,)),)}, 1)}
    job = Recalled(Asha(1, 9, 3, max_trials=3), known, 3).ask()
    assert isinstance(job, Resume)
    assert job.trial in (1, 2)
