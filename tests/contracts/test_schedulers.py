"""One contract suite over every scheduler: what each must do whatever its rule is."""

from __future__ import annotations

from math import nan

import pytest

from searchd.schedulers.events import (
    Deepened,
    Exhausted,
    Extended,
    Failed,
    Finished,
    Injected,
    Reported,
    Resume,
    Scheduler,
    Start,
    Stopped,
    Wait,
)
from tests.support.fleets import SCHEDULERS, Fleet, losses_by, one

EACH = pytest.mark.parametrize("name", SCHEDULERS)


def make(name: str, trials: int | None = 9, R: int = 9) -> Scheduler:
    return SCHEDULERS[name](1, R, 3, trials)


@EACH
def test_first_answer_is_trial_0(name: str) -> None:
    """A fresh scheduler starts trial 0 in bracket 0, up to a rung of its ladder, and says why."""
    scheduler = make(name)
    answer = scheduler.ask()
    assert isinstance(answer, Start)
    assert (answer.trial, answer.bracket) == (0, 0)
    assert answer.until in scheduler.ladders()[0]
    assert scheduler.is_rung(0, answer.until)
    assert answer.reason


@EACH
def test_no_trials_allowed(name: str) -> None:
    """With max_trials 0 everything is exhausted at once, until a user's config or an extension comes."""
    scheduler = make(name, 0)
    assert scheduler.ask() == Exhausted()
    scheduler.tell(Injected(0))
    assert isinstance(scheduler.ask(), Start)
    assert scheduler.ask() == Wait()
    scheduler.tell(Extended(2))
    answer = scheduler.ask()
    assert isinstance(answer, Start)
    assert answer.trial == 1


@EACH
def test_injected_comes_first(name: str) -> None:
    """A user's config is the next Start, before promotions; one reserved twice, or an id in use, changes nothing."""
    scheduler = make(name, 6)
    for _ in range(3):
        answer = scheduler.ask()
        assert isinstance(answer, Start)
    for trial in range(3):
        until = 1 if scheduler.is_rung(trial, 1) else 9
        scheduler.tell(Reported(trial, until, one(float(trial))))
        scheduler.tell(Finished(trial, until))
    scheduler.tell(Injected(3))
    scheduler.tell(Injected(3))
    scheduler.tell(Injected(0))
    answer = scheduler.ask()
    assert isinstance(answer, Start)
    assert (answer.trial, answer.reason.split(",")[0]) == (3, "injected")
    following = scheduler.ask()
    assert not (isinstance(following, Start) and following.reason.startswith("injected"))


@EACH
def test_an_id_out_of_order_is_a_bug(name: str) -> None:
    """Injected with an id beyond the next free one is refused as a broken invariant."""
    with pytest.raises(ValueError, match="this is a bug: Injected\\(4\\), but the next free trial id is 0"):
        make(name).tell(Injected(4))


@EACH
def test_diverged_trials_end_the_search(name: str) -> None:
    """When all trials diverge, nothing is promoted and the search ends."""
    fleet = Fleet(make(name), 2, lambda *_: one(nan), 9)
    fleet.drain()
    assert fleet.started == 9
    assert not any(isinstance(answer, Resume) for _, answer in fleet.calls)


@EACH
def test_finished_without_a_report_counts_as_diverged(name: str) -> None:
    """A trial that finishes its rung unreported never goes up and does not hold up the others."""
    fleet = Fleet(make(name), 1, losses_by(1, ""), 9)
    answer = fleet.ask()
    assert isinstance(answer, Start)
    fleet.tell(Finished(0, answer.until))
    fleet.paused[0] = answer.until
    del fleet.jobs[0]
    fleet.drain()
    assert (0, 9) not in fleet.told or answer.until == 9


@EACH
@pytest.mark.parametrize("event", [Failed(0), Stopped(0)])
def test_out_is_for_ever(name: str, event: Failed | Stopped) -> None:
    """A trial that failed or was stopped hears nothing more: neither a late report nor a late end revives it."""
    scheduler = make(name)
    answer = scheduler.ask()
    assert isinstance(answer, Start)
    scheduler.tell(event)
    before = scheduler.peek()
    assert scheduler.tell(Reported(0, answer.until, one(0.0))) == ()
    assert scheduler.tell(Finished(0, answer.until)) == ()
    assert scheduler.peek() == before
    fleet = Fleet(scheduler, 1, losses_by(3, ""), 9)
    fleet.started, fleet.out = 1, {0}
    fleet.drain()


@EACH
def test_lost_is_for_the_account_only(name: str) -> None:
    """Lost changes no answer: the engine runs the same job again."""
    traces = []
    for lose in (False, True):
        fleet = Fleet(make(name), 3, losses_by(5, "t"), 9)
        while len(fleet.jobs) < 3:
            fleet.ask()
        if lose:
            fleet.lose(1)
        fleet.drain()
        traces.append([line for line in fleet.trace() if not line.startswith("tell lost")])
    assert traces[0] == traces[1]


@EACH
def test_deepening_needs_a_power_of_eta(name: str) -> None:
    """Raising R to something that is no R · eta^k is an error that names all three; the same R changes nothing."""
    scheduler = make(name)
    ladders = scheduler.ladders()
    scheduler.tell(Deepened(9))
    assert scheduler.ladders() == ladders
    with pytest.raises(ValueError, match="R = 9 times a power of eta = 3, but R = 20"):
        scheduler.tell(Deepened(20))
    scheduler.tell(Deepened(81))
    assert max(step for steps in scheduler.ladders() for step in steps) == 81


@EACH
def test_impossible_ladders(name: str) -> None:
    """r above R, R below 1 and eta below 2 are refused with value and rule."""
    for r, R, eta, words in [(1, 0, 3, "1 <= r <= R, but r = 1 and R = 0"), (1, 9, 1, "eta >= 2, but eta = 1")]:
        with pytest.raises(ValueError, match=words):
            SCHEDULERS[name](r, R, eta, None)
    with pytest.raises(ValueError, match="max_trials needs to be 0 or more"):
        SCHEDULERS[name](1, 9, 3, -1)


@EACH
def test_is_rung(name: str) -> None:
    """No step is a rung of an unknown trial; the `until` of an answer is always one, a step between rungs never."""
    scheduler = make(name)
    assert not scheduler.is_rung(0, 9)
    answer = scheduler.ask()
    assert isinstance(answer, Start)
    assert scheduler.is_rung(0, answer.until)
    assert not scheduler.is_rung(0, 2)
    assert not scheduler.is_rung(-1, answer.until)
