"""Trials that report the same: when that means anything, who waits behind whom, and who comes forward."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, nan
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchd.schedulers import twins
from searchd.schedulers.auto import SURE, Auto
from searchd.schedulers.events import Exhausted, Failed, Losses, Resume, Stopped, TrialId
from searchd.schedulers.twins import ENOUGH, Twins
from tests.support.fleets import Fleet, havoc, one

R, TRIALS = 27, 240
LossOf = Callable[[TrialId, int], tuple[Losses, ...]]


def cells(n: int) -> LossOf:
    """Each trial is one of `n` configs that the task can tell apart, and their losses have all their digits."""

    def loss(trial: TrialId, step: int) -> tuple[Losses, ...]:
        cell = Random(trial).randrange(n)
        draw = Random(1000 + cell)
        return one(draw.random() + draw.random() * exp(-step / 9))

    return loss


def samples(n: int, seed: int, stuck: float = 0.0) -> LossOf:
    """Errors on `n` samples: no trial is like another, and many losses are equal. A share is stuck at guessing."""

    def loss(trial: TrialId, step: int) -> tuple[Losses, ...]:
        draw = Random(1000 * seed + trial)
        if draw.random() < stuck:
            return one(0.9)
        end, start = 0.3 * draw.random(), draw.random()
        chance = end + 0.3 * start * exp(-step / 9)
        mistakes = Random(f"{seed} {trial} {step}")
        return one(sum(mistakes.random() < chance for _ in range(n)) / n)

    return loss


def majority(seed: int, share: float, late: float) -> LossOf:
    """Errors on 360 samples where one class is 90 % of them: a share of the trials says that class at first, and is
    better for it than many that learn; a part of these starts to learn late."""

    def loss(trial: TrialId, step: int) -> tuple[Losses, ...]:
        draw = Random(f"{seed} {trial}")
        end = 0.04 + 0.3 * draw.random()
        if draw.random() < share:
            end = 0.02 + 0.06 * draw.random()
            if draw.random() >= late or step <= draw.choice([5, 12]):
                return one(0.1)
        mistakes = Random(f"{seed} {trial} {step}")
        chance = min(0.9, end + 0.5 * draw.random() * exp(-step / 5))
        return one(sum(mistakes.random() < chance for _ in range(360)) / 360)

    return loss


def drained(loss: LossOf, trials: int = TRIALS) -> Fleet:
    fleet = Fleet(Auto(1, R, 3, max_trials=trials), 4, loss, trials)
    assert fleet.drain() == Exhausted()
    return fleet


def chosen(fleet: Fleet, n: int) -> tuple[int, int]:
    """How many trials went to R because they were chosen to (see `SURE`), and how many different configs they are."""
    full = [trial for trial in range(8, TRIALS) if (trial, R) in fleet.told and trial % (2 * SURE) != SURE // 4]
    return len(full), len({Random(trial).randrange(n) for trial in full})


@pytest.mark.parametrize("n", [15, 25, 40])
def test_one_of_the_twins_is_trained_to_the_end(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With so many different configs among 240 trials none is trained to R twice by choice, and the best one is. If
    nobody looked at what is equal, most choices would be a config that was trained to R already."""
    loss = cells(n)
    fleet = drained(loss)
    trained, different = chosen(fleet, n)
    assert trained == different > 1
    ends = {told[0].values[0] for (_, step), told in fleet.told.items() if step == R}
    assert min(ends) == min(loss(trial, R)[0].values[0] for trial in range(TRIALS))
    monkeypatch.setattr(twins, "ENOUGH", 10**9)
    trained, different = chosen(drained(loss), n)
    assert trained > 3 * different


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("n", "stuck"), [(25, 0.0), (100, 0.0), (100, 0.4), (100, 0.7), (360, 0.2)])
def test_equal_errors_by_chance_change_nothing(
    n: int, stuck: float, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a few samples errors are often equal, also those of who is stuck at guessing: every decision is the same as
    if nobody looked at that."""
    loss = samples(n, seed, stuck)
    first = drained(loss)
    monkeypatch.setattr(twins, "ENOUGH", 10**9)
    assert [answer for _, answer in first.calls] == [answer for _, answer in drained(loss).calls]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("share", "late"), [(0.3, 0.5), (0.3, 0.2), (0.45, 0.5)])
def test_who_stands_still_is_nobodys_twin(
    share: float, late: float, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plateau at the good end says nothing either: every decision is the same as if nobody looked."""
    loss = majority(seed, share, late)
    first = drained(loss)
    monkeypatch.setattr(twins, "ENOUGH", 10**9)
    assert [answer for _, answer in first.calls] == [answer for _, answer in drained(loss).calls]


@pytest.mark.parametrize("seed", range(40))
def test_whatever_happens_to_twins_is_replayed(seed: int) -> None:
    """Jobs are lost, fail, are stopped, configs are injected, the search deepens, losses diverge, and most trials are
    somebody's twin: in the end nobody waits without somebody before them who may still go on or did, and the same calls
    without the asks in vain are answered alike."""
    draw = Random(seed)
    n, bad = draw.choice([2, 4, 8]), draw.choice([0, 0, 0.1])

    def loss(trial: TrialId, step: int) -> tuple[Losses, ...]:
        if Random(f"{seed} {trial} {step}").random() < bad:
            return one(nan)
        cell = Random(f"{seed} {trial}").randrange(n)
        values = Random(f"{seed} cell {cell}")
        return one(values.random() + values.random() * exp(-step / 9), float(values.randrange(2) if seed % 3 else 0))

    scheduler = Auto(1, R, 3, max_trials=80)
    fleet = Fleet(scheduler, draw.choice([1, 4, 8]), loss, 80)
    havoc(fleet, seed, 400, R, 3)
    fleet.drain()
    for trial, k in scheduler._twins._behind.items():
        assert trial not in fleet.out
        elder = scheduler._twins.elder(trial, k)
        assert elder is not None
        assert elder not in fleet.out
    again = Auto(1, R, 3, max_trials=80)
    for event, answer in fleet.calls:
        assert (again.ask() if event is None else again.tell(event)) == answer


def test_a_twin_stands_in_for_one_that_diverged_once() -> None:
    """When the elder diverges further up, the next one comes forward; when that one diverges too, the others wait."""
    account = Twins()
    account.agreed = ENOUGH
    for trial in range(4):
        account.enter(trial, 0, (0.0, ((0.5,),)))
    assert [account.waits(trial, 0) for trial in range(4)] == [False, True, True, True]
    account.diverged(0, 1)
    assert account.free() == [(1, 0)]
    account.diverged(1, 1)
    assert account.free() == []
    assert account.elder(2, 0) == account.elder(3, 0) == 1


@pytest.mark.parametrize("gone", [Failed, Stopped])
def test_who_waits_comes_forward_when_the_elder_is_out(gone: type[Failed] | type[Stopped]) -> None:
    """When the best trial is out, one of its twins goes all the way in its place, and the others go on waiting."""
    fleet = drained(cells(20))
    ends = {trial: told[0].values[0] for (trial, step), told in fleet.told.items() if step == R}
    best = min(ends.values())
    elders = [trial for trial, end in ends.items() if end == best]
    alike = [trial for trial in range(TRIALS) if cells(20)(trial, R)[0].values[0] == best]
    waiting = [trial for trial in alike if trial not in elders]
    assert len(waiting) > 2
    for trial in elders:
        fleet.end(trial, gone(trial))
    before = len(fleet.calls)
    fleet.drain()
    went = {answer.trial for _, answer in fleet.calls[before:] if isinstance(answer, Resume)}
    assert len(went & set(waiting)) == 1
    assert sum((trial, R) in fleet.told for trial in waiting) == 1


def test_evidence_that_is_lost_lets_everybody_go() -> None:
    """Equal at the lower rung, different at the next: once too many are, nobody waits."""
    account = Twins()
    for trial in range(ENOUGH + 1):
        account.enter(trial, 0, (0.0, ((0.5,),)))
        agrees = account.enter(trial, 1, (0.0, ((0.25,),)))
        assert agrees is (None if trial == 0 else True)
        if trial:
            assert account.learn(True) is (trial == ENOUGH)
    assert account.proved
    assert account.waits(3, 1)
    assert not account.waits(0, 1)
    assert account.free() == []
    changed = [account.learn(False) for _ in range(3)]
    assert any(changed)
    assert not account.proved
    assert account.free() == [(3, 1)]
    assert account.free() == []


@given(
    st.lists(st.tuples(st.integers(0, 7), st.integers(0, 2), st.integers(0, 2)), max_size=60),
    st.lists(st.integers(0, 7), max_size=4),
)
def test_the_elder_is_who_reported_the_same_first(told: list[tuple[int, int, int]], gone: list[int]) -> None:
    """After any reports, each trial at each rung once, and any departures: the first one with the same values at every
    rung up to there, the rungs reached one after another. Nobody's, where the last value is that of the rung below, and
    for who is out."""
    account = Twins()
    account.agreed = ENOUGH
    values: dict[int, list[int]] = {}
    order: list[tuple[int, int]] = []
    for trial, k, value in told:
        mine = values.setdefault(trial, [])
        if len(mine) == k:
            mine.append(value)
            order.append((trial, k))
            account.enter(trial, k, (0.0, ((float(value),),)))
    for trial in gone:
        account.leave(trial)
    for trial, k in order:
        same = [t for t, rung in order if rung == k and values[t][: k + 1] == values[trial][: k + 1] and t not in gone]
        still = k > 0 and values[trial][k] == values[trial][k - 1]
        wanted = same[0] if same and same[0] != trial and trial not in gone and not still else None
        assert account.elder(trial, k) == wanted
